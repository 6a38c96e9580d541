"""SanitizedBundle: all that crosses the wire from device to server, and what it may hold.

A bundle is made by :func:`spinml.privacy.sanitizer.sanitize` alone. It travels as
``multipart/form-data``: one part ``manifest`` (JSON) and one PNG part for each image, named
``<segment>.<index>``. The same checks run before sending and on arrival: what the declared
preference does not allow makes no bundle on either side.
"""

from __future__ import annotations

import hashlib
import io
import json
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from spinml.errors import (
    BundleLimitError,
    MalformedBundleError,
)
from spinml.request import Scheme, TrainingRequest

MANIFEST_PART = "manifest"
FORMAT_VERSION = 1
HoleMode = Literal["inpaint", "box", "silhouette"]


class BundleLimits(BaseModel):
    """How large a bundle may be; the server's are in its configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_images_per_segment: int = 32
    max_image_bytes: int = 2_000_000
    max_image_px: int = 1024
    """Largest width and height of an image."""
    max_body_bytes: int = 32_000_000
    max_manifest_bytes: int = 64_000


class SanitizedSegment(BaseModel):
    """One segment of the photos (target object or background), sanitized by its scheme.

    ``images`` are PNG files: none at L0; single-channel feature maps at L1; at L2 RGBA cut-outs of
    the target object or RGBA backgrounds. Their order and number are those of the photos used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["target", "background"]
    scheme: Scheme
    text: str = Field(min_length=1, max_length=60)
    feature: str | None = None
    hole: HoleMode | None = None
    images: tuple[bytes, ...] = Field(default=(), repr=False)


class SanitizedBundle(BaseModel):
    """The request and its sanitized segments, target object first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request: TrainingRequest
    segments: tuple[SanitizedSegment, ...]

    def segment(self, name: str) -> SanitizedSegment:
        """The segment called ``name`` ("target" or "background")."""
        return next(segment for segment in self.segments if segment.name == name)

    def manifest(self) -> bytes:
        """The JSON part: the request, and each segment with its images' SHA-256 digests."""
        segments = [
            segment.model_dump(mode="json", exclude={"images"})
            | {"images": [hashlib.sha256(image).hexdigest() for image in segment.images]}
            for segment in self.segments
        ]
        payload = {
            "version": FORMAT_VERSION,
            "request": self.request.model_dump(mode="json"),
            "segments": segments,
        }
        return json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()

    def to_parts(self) -> dict[str, bytes]:
        """All parts that travel, by part name; the manifest first."""
        parts = {MANIFEST_PART: self.manifest()}
        for segment in self.segments:
            for index, image in enumerate(segment.images):
                parts[part_name(segment.name, index)] = image
        return parts

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which holds every image's digest: the bundle's identity."""
        return hashlib.sha256(self.manifest()).hexdigest()


def part_name(segment: str, index: int) -> str:
    """The name of the part that holds image ``index`` of ``segment``."""
    return f"{segment}.{index}"


def decode_png(data: bytes, limits: BundleLimits) -> npt.NDArray[np.uint8]:
    """Decode one PNG of a bundle: ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``; hostile until shown.

    Raises:
        BundleLimitError: more bytes or pixels than ``limits``, told from the header alone.
        MalformedBundleError: not a PNG of modes L, RGB or RGBA, truncated, animated, with metadata
            or with bytes behind its end.
    """
    if len(data) > limits.max_image_bytes:
        raise BundleLimitError(
            f"an image has {len(data)} bytes, at most {limits.max_image_bytes} are taken"
        )
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if max(image.size) > limits.max_image_px:
                raise BundleLimitError(
                    f"an image has {image.width} x {image.height} pixels, at most "
                    f"{limits.max_image_px} a side are taken"
                )
            if image.mode not in ("L", "RGB", "RGBA") or getattr(image, "is_animated", False):
                raise MalformedBundleError(f"an image has mode {image.mode}, not L, RGB or RGBA")
            pixels = np.array(image)
            carries = bool(image.info) or bool(getattr(image, "text", None))
    except (BundleLimitError, MalformedBundleError):
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MalformedBundleError(f"an image is not a whole PNG: {type(error).__name__}") from None
    if carries:
        raise MalformedBundleError("an image carries metadata", remedy="send pixels alone")
    if not data.endswith(b"IEND\xaeB`\x82"):
        raise MalformedBundleError("an image has bytes behind its end")
    return pixels
