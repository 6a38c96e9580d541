"""Photos in, arrays through, PNGs out. Arrays are RGB, uint8, shape ``(H, W, 3)``, or masks."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from spinml.errors import PhotoError

Photo = npt.NDArray[np.uint8]
"""RGB, shape ``(H, W, 3)``."""
Mask = npt.NDArray[np.bool_]
"""Shape ``(H, W)``; True where the segment is."""

MAX_PHOTO_PIXELS = 50_000_000
GROUND = 200
"""The grey level of the plain ground that target objects stand on, in every channel."""
CUTOUT_MARGIN = 0.12
"""Margin around a cut-out's bounding box, as a share of its longer side."""

_PHOTO_MODES = frozenset(
    {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I;16B", "I;16L"}
)
"""Pillow's modes whose way to RGB is defined; of 32 bits or floats nothing says what is white."""
_PHOTO_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")


def decode_photo(source: Path | bytes, *, max_pixels: int = MAX_PHOTO_PIXELS) -> Photo:
    """Decode a photo: rotated as its EXIF says, without any metadata, shape ``(H, W, 3)`` RGB.

    Raises:
        PhotoError: not an image, truncated, of a pixel format without certain colours, more than
            ``max_pixels`` (told from the header, before any pixel is decoded), or transparent
            somewhere, for someone may have erased what is there.
    """
    colours, alpha = _decoded(source, max_pixels)
    if alpha is not None and alpha.min() < 255:
        raise PhotoError(
            "a photo is transparent somewhere, and what is hidden there would be uncovered",
            remedy="paint over what shall not be seen, and save it without transparency",
        )
    return colours


def _decoded(source: Path | bytes, max_pixels: int) -> tuple[Photo, npt.NDArray[np.uint8] | None]:
    """Colours ``(H, W, 3)``, and alpha ``(H, W)`` where the file has any."""
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with Image.open(stream, formats=_PHOTO_FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise PhotoError(
                    f"a photo has {width} x {height} pixels, at most {max_pixels} are taken",
                    remedy="scale it down",
                )
            if image.mode not in _PHOTO_MODES:
                raise PhotoError(
                    f"a photo has the pixel format {image.mode}, which has no certain colours",
                    remedy="save it as RGB of 8 bits",
                )
            upright = ImageOps.exif_transpose(image)
            return _rgb(upright), _alpha(upright)
    except PhotoError:
        raise
    except Image.DecompressionBombError:
        raise PhotoError(
            f"a photo has far more than {max_pixels} pixels", remedy="scale it down"
        ) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise PhotoError(
            f"a photo cannot be decoded: {type(error).__name__}",
            remedy=f"give a whole {', '.join(_PHOTO_FORMATS)} file",
        ) from None


def _rgb(image: Image.Image) -> Photo:
    if image.mode.startswith("I;16"):  # Pillow would cut all above 255 off to white
        grey = np.asarray(image).astype(np.uint32)
        # Upwards, so that a mask's faintest grey does not become black.
        image = Image.fromarray(((grey + 256) // 257).astype(np.uint8))
    return np.array(image.convert("RGB"))


def _alpha(image: Image.Image) -> npt.NDArray[np.uint8] | None:
    if not image.has_transparency_data:
        return None
    if image.mode not in ("LA", "PA", "RGBA", "P"):
        raise PhotoError(
            "a photo or mask declares one of its colours transparent",
            remedy="save it without transparency, or as RGBA",
        )
    return np.array(image.convert("RGBA").getchannel("A"))


def decode_mask(source: Path | bytes, *, max_pixels: int = MAX_PHOTO_PIXELS) -> Mask:
    """Decode a mask file, shape ``(H, W)``: what is neither black nor transparent is the segment.

    Raises: as :func:`decode_photo`, but that a mask may be transparent.
    """
    colours, alpha = _decoded(source, max_pixels)
    mask = np.asarray(colours.any(axis=2), np.bool_)
    return mask if alpha is None else mask & (alpha > 0)


def encode_png(image: npt.NDArray[np.uint8]) -> bytes:
    """PNG of an ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)`` array; pixels alone, no metadata."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def resize(image: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """Antialiased resize to ``(height, width)``; area averaging down, cubic up."""
    smaller = width * height < image.shape[0] * image.shape[1]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation), np.uint8)


def bounding_box(mask: Mask) -> tuple[int, int, int, int]:
    """``(x0, y0, x1, y1)`` of the True pixels, the end exclusive. ``mask`` must not be empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def cut_out_square(mask: Mask) -> tuple[int, int, int]:
    """``(left, top, side)`` of the square that :func:`cut_out` takes, in pixels of the photo.

    It is centred on the mask's bounding box and may reach beyond the photo.
    """
    x0, y0, x1, y1 = bounding_box(mask)
    side = max(2, round(max(x1 - x0, y1 - y0) * (1 + 2 * CUTOUT_MARGIN)))
    return (x0 + x1 - side) // 2, (y0 + y1 - side) // 2, side


def cut_out(photo: Photo, mask: Mask, size_px: int) -> npt.NDArray[np.uint8]:
    """The segment alone: a square RGBA cut-out, shape ``(size_px, size_px, 4)``.

    The square is centred on the mask's bounding box with a margin of ``CUTOUT_MARGIN`` a side.
    Pixels outside the mask are set to zero *before* resampling, and colours are resampled
    premultiplied, so that no pixel outside the mask has any influence on the result.
    """
    x0, y0, x1, y1 = bounding_box(mask)
    left, top, side = cut_out_square(mask)
    alpha = mask[y0:y1, x0:x1].astype(np.float32)
    colours = photo[y0:y1, x0:x1].astype(np.float32) * alpha[..., None]
    square = np.zeros((side, side, 4), np.float32)
    square[y0 - top : y1 - top, x0 - left : x1 - left] = np.dstack([colours, alpha * 255.0])
    interpolation = cv2.INTER_AREA if size_px < side else cv2.INTER_LINEAR
    square = cv2.resize(square, (size_px, size_px), interpolation=interpolation)
    coverage = square[..., 3:] / 255.0
    colour = np.divide(
        square[..., :3], coverage, out=np.zeros_like(square[..., :3]), where=coverage > 1 / 512
    )
    out = np.dstack([colour, square[..., 3:]]).round().clip(0, 255).astype(np.uint8)
    out[out[..., 3] == 0] = 0
    return out


def on_plain_ground(cutout: npt.NDArray[np.uint8], ground: int = GROUND) -> Photo:
    """Composite an RGBA cut-out ``(H, W, 4)`` over the plain ground: ``(H, W, 3)``."""
    alpha = cutout[..., 3:].astype(np.float32) / 255.0
    mixed = cutout[..., :3] * alpha + ground * (1.0 - alpha)
    return np.asarray(mixed.round(), np.uint8)
