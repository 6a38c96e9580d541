"""SanitizedBundle: all that crosses the wire from device to server, and what it may hold.

A bundle is made by :func:`spinml.privacy.sanitizer.sanitize` on the device, and by
:func:`spinml.privacy.receive.bundle_from_parts` on arrival; every other way of making or changing
one raises TypeError (design rule 1). It travels as ``multipart/form-data``: one part ``manifest``
(JSON) and one PNG part for each image, named ``<segment>.<index>``, where the index goes on through
all sanitized segments of that name. The same checks
(:mod:`spinml.privacy.rules`) run before sending and on arrival: what the declared preference does
not allow makes no bundle on either side.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from spinml.errors import BundleLimitError, ImageFormatError
from spinml.png import check_plain_png
from spinml.preference import SegmentName
from spinml.request import Scheme, TrainingRequest

MANIFEST_PART = "manifest"
FORMAT_VERSION = 1
HoleMode = Literal["inpaint", "box", "silhouette"]
"""How the target's place is removed from a background at L2."""

_SEAL = object()


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
    """One segment of the photos (a target object or the background), sanitized by one scheme.

    ``images`` are PNG files: none at L0; feature maps at L1, grey or RGB; at L2 RGBA cut-outs of
    the target object or RGBA backgrounds. Their order and number are those of the photos on which
    the segment was found.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: SegmentName
    scheme: Scheme
    text: str = Field(min_length=1, max_length=60)
    feature: str | None = None
    hole: HoleMode | None = None
    images: tuple[bytes, ...] = Field(default=(), repr=False)


class SanitizedBundle(BaseModel):
    """The request and its sanitized segments, target objects first.

    A segment stands once for each scheme in which the request's preferences need it
    (:attr:`TrainingRequest.disclosures`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    request: TrainingRequest
    segments: tuple[SanitizedSegment, ...]

    @model_validator(mode="after")
    def _is_sealed(self, info: ValidationInfo) -> SanitizedBundle:
        if info.context is not _SEAL:
            raise TypeError(_HOW_TO_MAKE)
        return self

    def model_copy(self, **_: Any) -> NoReturn:
        """Refused: an ``update`` would change what was checked."""
        raise TypeError(_HOW_TO_MAKE)

    @classmethod
    def model_construct(cls, *_: Any, **__: Any) -> NoReturn:
        """Refused: it validates nothing."""
        raise TypeError(_HOW_TO_MAKE)

    def segment(self, name: str, scheme: Scheme | None = None) -> SanitizedSegment:
        """The segment called ``name``, at ``scheme`` where it was sanitized by several.

        Raises:
            ValueError: there is none, or there are several and no ``scheme`` says which.
        """
        (found,) = (
            segment
            for segment in self.segments
            if segment.name == name and scheme in (None, segment.scheme)
        )
        return found

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
        for segment, first in zip(self.segments, first_indices(self.segments), strict=True):
            for index, image in enumerate(segment.images, start=first):
                parts[part_name(segment.name, index)] = image
        return parts

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, which holds every image's digest: the bundle's identity."""
        return hashlib.sha256(self.manifest()).hexdigest()


_HOW_TO_MAKE = (
    "a SanitizedBundle is made by spinml.privacy.sanitizer.sanitize() or "
    "spinml.privacy.receive.bundle_from_parts() alone"
)


def seal(data: Mapping[str, Any]) -> SanitizedBundle:
    """The bundle of ``data``, its content unchecked: for :func:`spinml.privacy.rules.make_bundle`.

    Raises:
        pydantic.ValidationError: fields missing, unknown or of the wrong type.
    """
    return SanitizedBundle.model_validate(dict(data), context=_SEAL)


def part_name(segment: str, index: int) -> str:
    """The name of the part that holds image ``index`` of ``segment``."""
    return f"{segment}.{index}"


def first_indices(segments: Sequence[SanitizedSegment]) -> list[int]:
    """The index of each segment's first part: how many images of its name stand before it."""
    sent: Counter[str] = Counter()
    firsts = []
    for segment in segments:
        firsts.append(sent[segment.name])
        sent[segment.name] += len(segment.images)
    return firsts


def decode_png(data: bytes, limits: BundleLimits) -> npt.NDArray[np.uint8]:
    """Decode one PNG of a bundle: ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)``; hostile until shown.

    Raises:
        BundleLimitError: more bytes or pixels than ``limits``, told before anything is decoded.
        ImageFormatError: not a plain PNG, see :func:`spinml.png.check_plain_png`.
    """
    if len(data) > limits.max_image_bytes:
        raise BundleLimitError(
            f"an image has {len(data)} bytes, at most {limits.max_image_bytes} are taken"
        )
    check_plain_png(data, limits.max_image_px)
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return np.array(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageFormatError(f"an image is not a whole PNG: {type(error).__name__}") from None
