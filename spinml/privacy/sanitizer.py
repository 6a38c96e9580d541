"""The image sanitizer: the one way from camera photos to what may leave the device (§3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from spinml.bundle import BundleLimits, HoleMode, SanitizedBundle
from spinml.errors import NoTargetFoundError
from spinml.images import Photo, cut_out, encode_png, on_plain_ground
from spinml.privacy.background import has_background, take_background
from spinml.privacy.extractor import FeatureModels
from spinml.privacy.private import DeviceOnly, SegmentedPhoto
from spinml.privacy.rules import make_bundle
from spinml.privacy.usable import Skipped, Usable, usable
from spinml.privacy.views import PhotoView, Way, take_views
from spinml.request import BACKGROUND, Scheme, TrainingRequest


@dataclass(frozen=True, repr=False)
class Sanitized(DeviceOnly):
    """What :func:`sanitize` made: the bundle travels, the views stay."""

    bundle: SanitizedBundle
    views: tuple[PhotoView, ...]
    skipped: tuple[Skipped, ...] = ()
    way: Way = field(default_factory=Way)
    """How it was made: to put other photos through the same sanitizer."""

    def __repr__(self) -> str:
        return f"Sanitized({len(self.views)} photos used, {len(self.skipped)} left out)"


def sanitize(
    request: TrainingRequest,
    photos: Sequence[SegmentedPhoto],
    *,
    size_px: int = 256,
    hole: HoleMode = "inpaint",
    limits: BundleLimits | None = None,
    models: FeatureModels | None = None,
) -> Sanitized:
    """Turn each photo's segments into words, features or pixels, as the request's preferences say.

    A photo may show some of the target objects only; each object is taken from those that show it.

    Args:
        photos: may be empty when all segments are at L0, for then no photo is needed.
        size_px: side of a target object's square cut-out.
        hole: how target objects' places leave a background at L2.
        models: what pose and depth need; None where the device has none.

    Raises:
        NoTargetFoundError: a segment is to be shared and can be taken from none of the photos.
        FeatureMissingError: a segment has no such feature; nothing is made of the others either.
        UnknownFeatureError: no such L1 feature.
        UnknownSchemeError: no such plugin scheme.
        PluginError: a plugin failed, or gave what is no image of the segment.
        BundleLimitError: more or larger images than a server takes.
        DeviceError: noise is asked for and the device's noise key cannot be had.
    """
    way = Way(size_px, hole, models or FeatureModels())
    views, skipped = take_views(request, photos, way)
    _require_all(request, views, skipped)
    segments = [
        _segment(request, name, scheme, views, hole) for name, scheme in request.disclosures
    ]
    bundle = make_bundle({"request": request, "segments": segments}, limits or BundleLimits())
    return Sanitized(bundle, tuple(views), tuple(skipped), way)


def private_segments(
    request: TrainingRequest, photos: Sequence[SegmentedPhoto], *, size_px: int = 256
) -> dict[str, list[Photo]]:
    """The private segments P^t and P^b of eq. 2, to be embedded at home: they never travel.

    Returns:
        By segment: the target objects on plain ground ``(size_px, size_px, 3)``, and the frames
        with the target objects' places filled ``(h, w, 3)``; a list is empty where no photo shows
        the object, and a close-up shows no background.
    """
    private: dict[str, list[Photo]] = {name: [] for name in request.segments}
    for item in photos:
        found = usable(request, item)
        if not isinstance(found, Usable):
            continue
        pixels = item.photo.pixels
        for name in found.objects:
            cutout = cut_out(pixels, found.found[name], size_px)
            private[name].append(on_plain_ground(cutout))
        masks = list(found.found.values())
        if has_background(masks):
            private[BACKGROUND].append(take_background(pixels, masks, "inpaint").pixels)
    return private


def _require_all(
    request: TrainingRequest, views: Sequence[PhotoView], skipped: Sequence[Skipped]
) -> None:
    """Raise when a segment is to be shared that no photo gives."""
    count = len(views) + len(skipped)
    there = {item.segment for view in views for item in view.sent}
    missing = [
        name for name, scheme in request.disclosures if scheme != Scheme.L0 and name not in there
    ]
    if missing and not views:
        raise NoTargetFoundError(
            f"none of {count} photo(s) can be used"
            + (f": {'; '.join(sorted({item.reason for item in skipped}))}" if skipped else ""),
            remedy="take photos on which the target object is whole and its surroundings show",
        )
    if missing == [BACKGROUND]:
        raise NoTargetFoundError(
            f"the background can be taken from none of {count} photo(s); nothing was sent: on each "
            "a target object was not found, which would leave with the background",
            remedy="add a photo that shows all target objects, or give masks with --mask: a black "
            "one says that the object is not there",
        )
    if missing:
        words = ", ".join(request.words_of(name) for name in missing)
        raise NoTargetFoundError(
            f"{words}: to be shared, and on none of {count} photo(s); nothing was sent",
            remedy="add photos that show it whole, give masks with --mask, or set it to L0",
        )


def _segment(
    request: TrainingRequest,
    name: str,
    scheme: Scheme,
    views: Sequence[PhotoView],
    hole: HoleMode,
) -> dict[str, Any]:
    """The fields of a SanitizedSegment."""
    images = [view.image(name, scheme) for view in views]
    return {
        "name": name,
        "scheme": scheme,
        "text": request.words_of(name),
        "feature": request.feature_of(name) if scheme == Scheme.L1 else None,
        "hole": hole if scheme == Scheme.L2 and name == BACKGROUND else None,
        "images": tuple(encode_png(image) for image in images if image is not None),
    }
