"""The preview: what would leave the device beside what stays, as one picture and as one page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from spinml.bundle import SanitizedBundle, SanitizedSegment
from spinml.device.files import writing
from spinml.images import Photo, encode_png
from spinml.privacy.leakage import Leakage, MutualInformation
from spinml.privacy.noise import DELTA, epsilon, sent_pixels
from spinml.privacy.sanitizer import Sanitized
from spinml.privacy.views import PhotoView
from spinml.request import BACKGROUND, Scheme, TrainingRequest

TILE_PX = 240
_GAP = 20
_HEADER = 96
_CAPTION = 58
_LEAST_COLUMNS = 3
_INK, _FAINT, _PAPER, _CARD = (28, 32, 38), (110, 118, 128), (246, 244, 240), (255, 255, 255)
_STAYS, _LEAVES = (46, 125, 90), (190, 90, 40)
_CHECKER = (232, 220)
"""Grey levels of the pattern that shows through where an image is transparent."""

_SCHEME_WORDS = {
    Scheme.L0: "the word alone",
    Scheme.L1: "a feature map",
    Scheme.L2: "its pixels",
}


@dataclass(frozen=True)
class SegmentSummary:
    """What of one segment would leave, in figures."""

    name: str
    text: str
    scheme: str
    what: str
    images: int
    bytes: int
    mi: MutualInformation
    noise_sigma: float | None = None
    """σ of the Gaussian noise on its pixels, in grey levels; None without noise."""
    epsilon: float | None = None
    """ε of that noise at δ = 1e-5, of the image with the most pixels (spinml.privacy.noise)."""


def summarise(bundle: SanitizedBundle, leakage: Leakage) -> list[SegmentSummary]:
    """One line a sanitized segment, target objects first."""
    return [
        _summary(segment, bundle.request, leakage.segments[segment.name])
        for segment in bundle.segments
    ]


def words_that_leave(request: TrainingRequest) -> dict[str, tuple[str, ...]]:
    """The request's words by what they say: at every level they leave as they stand."""
    return {
        "objective": (request.training_objective,),
        "classes": request.label_classes,
        "objects": request.target_objects,
        "background": (request.background,),
    }


def words_line(request: TrainingRequest) -> str:
    """:func:`words_that_leave` as one line."""
    told = words_that_leave(request).items()
    return "; ".join(f"{what} {', '.join(f'“{word}”' for word in words)}" for what, words in told)


def _summary(
    segment: SanitizedSegment, request: TrainingRequest, mi: MutualInformation
) -> SegmentSummary:
    sigma = _noise_of(segment, request)
    guarantee = None
    what = _SCHEME_WORDS[segment.scheme]
    if segment.feature:
        what += f" ({segment.feature})"
    if segment.scheme == Scheme.L2 and segment.name in request.schemes:
        what += f" (by the plugin's scheme {request.schemes[segment.name]})"
    if sigma is not None:
        guarantee = epsilon(sigma, max(map(sent_pixels, segment.images)))
        what += f" with noise σ {sigma:g} (ε {guarantee:,.0f} at δ {DELTA:g})"
    return SegmentSummary(
        segment.name,
        segment.text,
        segment.scheme,
        what,
        len(segment.images),
        sum(len(image) for image in segment.images),
        mi,
        sigma,
        guarantee,
    )


def render_sheet(sanitized: Sanitized, leakage: Leakage) -> Photo:
    """The preview as one picture ``(H, W, 3)``: a row a photo; camera, then what leaves."""
    columns = max(_LEAST_COLUMNS, 1 + len(sanitized.bundle.segments))
    width = columns * (TILE_PX + _GAP) + _GAP
    row_px = TILE_PX + _CAPTION + _GAP
    sheet = Image.new("RGB", (width, _HEADER + len(sanitized.views) * row_px + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 18), "What would leave this device", _INK, _font(26))
    line = _preferences(sanitized.bundle.request)
    draw.text((_GAP, 56), f"{line}: nothing has been sent", _FAINT, _font(15))
    for row, (view, measured) in enumerate(zip(sanitized.views, leakage.photos, strict=True)):
        _draw_row(sheet, draw, _HEADER + row * row_px, view, measured, sanitized.bundle)
    return np.asarray(sheet, np.uint8)


def render_page(sanitized: Sanitized, leakage: Leakage) -> str:
    """The preview as one HTML page that holds its images and loads nothing."""
    rows = [
        {
            "number": view.index + 1,
            "outline": _data_uri(_jpeg(_outlined(view)), "jpeg"),
            "segments": [
                _tile(view, measured, segment, sanitized.bundle.request)
                for segment in sanitized.bundle.segments
            ],
        }
        for view, measured in zip(sanitized.views, leakage.photos, strict=True)
    ]
    return str(
        _page().render(
            request=sanitized.bundle.request,
            preferences=_preferences(sanitized.bundle.request),
            columns=1 + len(sanitized.bundle.segments),
            summary=summarise(sanitized.bundle, leakage),
            words=words_line(sanitized.bundle.request),
            rows=rows,
            skipped=sanitized.skipped,
        )
    )


def write_preview(sanitized: Sanitized, leakage: Leakage, stem: Path) -> tuple[Path, Path]:
    """Write ``stem``.png and ``stem``.html; their paths.

    Raises:
        DeviceError: they cannot be written.
    """
    sheet, page = (stem.parent / f"{stem.stem}{ending}" for ending in (".png", ".html"))
    with writing("the preview"):
        stem.parent.mkdir(parents=True, exist_ok=True)
        sheet.write_bytes(encode_png(render_sheet(sanitized, leakage)))
        page.write_text(render_page(sanitized, leakage), encoding="utf-8")
    return sheet, page


def _draw_row(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    top: int,
    view: PhotoView,
    measured: dict[str, MutualInformation],
    bundle: SanitizedBundle,
) -> None:
    _draw_tile(sheet, draw, (_GAP, top), _outlined(view))
    caption = (_GAP + 8, top + TILE_PX + 8)
    draw.text(caption, f"photo {view.index + 1}: stays here", _STAYS, _font(15))
    for column, segment in enumerate(bundle.segments, start=1):
        left = _GAP + column * (TILE_PX + _GAP)
        image = view.image(segment.name, segment.scheme)
        if image is None:
            _draw_words(draw, (left, top), _in_place_of_an_image(segment))
        else:
            _draw_tile(sheet, draw, (left, top), image)
        below = top + TILE_PX + 8
        caption_ = f"{segment.name} at {segment.scheme}{_with_noise(segment, bundle.request)}"
        draw.text((left + 8, below), caption_, _LEAVES, _font(15))
        share = measured[segment.name].histogram if segment.name in measured else 0.0
        draw.text((left + 8, below + 22), f"MI {share:.1%}", _FAINT, _font(13))
        bar = (left + 80, below + 26, left + TILE_PX - 8, below + 35)
        draw.rounded_rectangle(bar, 4, (226, 222, 214))
        if share > 0:
            end = bar[0] + max(4, round(share * (bar[2] - bar[0])))
            draw.rounded_rectangle((bar[0], bar[1], end, bar[3]), 4, _LEAVES)


def _draw_tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    image: npt.NDArray[np.uint8],
) -> None:
    """``image`` fitted into a card; what is transparent shows a checkered ground."""
    draw.rounded_rectangle((*at, at[0] + TILE_PX, at[1] + TILE_PX), 10, _CARD)
    scale = (TILE_PX - 12) / max(image.shape[:2])
    width, height = (max(1, round(side * scale)) for side in image.shape[1::-1])
    # Pillow resamples colours premultiplied, so that nothing dark bleeds from what is transparent.
    shown = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    left, top = at[0] + (TILE_PX - width) // 2, at[1] + (TILE_PX - height) // 2
    if shown.mode == "RGBA":
        cells = np.add.outer(np.arange(height) // 8, np.arange(width) // 8) % 2
        ground = np.where(cells, np.uint8(_CHECKER[0]), np.uint8(_CHECKER[1]))
        sheet.paste(Image.fromarray(ground).convert("RGB"), (left, top))
        sheet.paste(shown, (left, top), shown)
    else:
        sheet.paste(shown.convert("RGB"), (left, top))


def _draw_words(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str) -> None:
    draw.rounded_rectangle((*at, at[0] + TILE_PX, at[1] + TILE_PX), 10, _CARD)
    size = max(11, min(30, int((TILE_PX - 40) / (0.6 * max(len(text), 1)))))
    centre = (at[0] + TILE_PX / 2, at[1] + TILE_PX / 2)
    draw.text(centre, text, _INK, _font(size), anchor="mm")


def _tile(
    view: PhotoView,
    measured: dict[str, MutualInformation],
    segment: SanitizedSegment,
    request: TrainingRequest,
) -> dict[str, Any]:
    """What the page shows of one segment of one photo."""
    image = view.image(segment.name, segment.scheme)
    return {
        "name": segment.name,
        "scheme": segment.scheme.value,
        "noise": _with_noise(segment, request),
        "image": None if image is None else _data_uri(encode_png(image), "png"),
        "words": _in_place_of_an_image(segment),
        "mi": measured.get(segment.name),
    }


def _in_place_of_an_image(segment: SanitizedSegment) -> str:
    """What stands where a photo gives no image: L0's words, or that the segment is not on it."""
    return f"“{segment.text}”" if segment.scheme == Scheme.L0 else "not from this photo"


def _noise_of(segment: SanitizedSegment, request: TrainingRequest) -> float | None:
    """σ of the noise on the segment's pixels; None for words, feature maps and plain pixels."""
    return request.noise.get(segment.name) if segment.scheme == Scheme.L2 else None


def _with_noise(segment: SanitizedSegment, request: TrainingRequest) -> str:
    sigma = _noise_of(segment, request)
    return "" if sigma is None else f" with noise σ {sigma:g}"


def _preferences(request: TrainingRequest) -> str:
    """The preferences in words: "target object L2, background L0", a mixture's joined by "and"."""
    titles = {name: request.words_of(name) for name in request.object_segments}
    if len(titles) == 1:
        titles = dict.fromkeys(titles, "target object")
    titles[BACKGROUND] = BACKGROUND
    return " and ".join(
        ", ".join(f"{title} {preference.of(name)}" for name, title in titles.items())
        for preference in request.preferences
    )


def _outlined(view: PhotoView) -> Photo:
    """The photo with the target objects' outlines drawn on it."""
    drawn = view.photo.pixels.copy()
    thickness = max(1, round(max(view.photo.size) / 200))
    for mask in view.masks.values():
        contours, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        cv2.drawContours(drawn, contours, -1, (255, 196, 60), thickness)
    return drawn


def _jpeg(photo: Photo) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@cache
def _page() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spinml.device"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("preview.html")
