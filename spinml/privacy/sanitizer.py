"""The image sanitizer: the one way from camera photos to what may leave the device (§3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from spinml.bundle import BundleLimits, HoleMode, SanitizedBundle
from spinml.errors import NoTargetFoundError
from spinml.images import (
    Mask,
    Photo,
    bounding_box,
    cut_out,
    cut_out_square,
    encode_png,
    on_plain_ground,
    resize,
)
from spinml.privacy.background import frame_size, has_background, take_background
from spinml.privacy.extractor import FeatureModels, SegmentInput
from spinml.privacy.features import get_feature
from spinml.privacy.noise import add_noise
from spinml.privacy.plugins import extract_image, get_scheme
from spinml.privacy.private import DeviceOnly, Keypoints, PrivatePhoto, SegmentedPhoto
from spinml.privacy.rules import make_bundle
from spinml.privacy.secret import device_secret
from spinml.request import BACKGROUND, TARGET, Scheme, TrainingRequest

LEAST_TARGET_PX = 16
"""A target object whose longer side is shorter teaches nothing and is left out."""
_SEAM_PX = 2
"""Edges this near to a background's hole may be the hole's own."""

Pixels = npt.NDArray[np.uint8]
Grey = npt.NDArray[np.uint8]
"""Grey levels, shape ``(h, w)``."""


@dataclass(frozen=True, repr=False)
class PhotoView(DeviceOnly):
    """One photo beside what was made of it, in one frame: to measure and to preview at home.

    All arrays share ``(h, w)``: the photo scaled so that its longer side is ≤ 512.
    """

    index: int
    """The photo's place in the sequence that was given to :func:`sanitize`."""
    photo: PrivatePhoto
    target_mask: Mask
    sent: Mapping[str, Grey | None]
    """By segment: what leaves, laid back where it was taken, zero elsewhere; None at L0."""
    images: Mapping[str, Pixels | None]
    """By segment: the very image that leaves, in its own frame; None at L0."""

    def __repr__(self) -> str:
        return f"PhotoView({self.index}, {self.photo!r})"


@dataclass(frozen=True)
class Skipped:
    """A photo that was left out, and why."""

    index: int
    reason: str


@dataclass(frozen=True, repr=False)
class Sanitized(DeviceOnly):
    """What :func:`sanitize` made: the bundle travels, the views stay."""

    bundle: SanitizedBundle
    views: tuple[PhotoView, ...]
    skipped: tuple[Skipped, ...] = ()
    models: FeatureModels = field(default_factory=FeatureModels)
    """What made the features: to put other photos through the same sanitizer."""

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
    """Turn each photo's segments into words, features or pixels, as the request's preference says.

    Args:
        photos: may be empty when both segments are at L0, for then no photo is needed.
        size_px: side of the target object's square cut-out.
        hole: how the target's place leaves a background at L2.
        models: what pose and depth need; None where the device has none.

    Raises:
        NoTargetFoundError: photos are needed and none is left.
        FeatureMissingError: a segment has no such feature; nothing is made of the others either.
        UnknownFeatureError: no such L1 feature.
        UnknownSchemeError: no such plugin scheme.
        PluginError: a plugin failed, or gave what is no image of the segment.
        BundleLimitError: more or larger images than a server takes.
        DeviceError: noise is asked for and the device's noise key cannot be had.
    """
    used, skipped = _choose(request, photos)
    made = models or FeatureModels()
    views = tuple(_view(request, index, photos[index], size_px, hole, made) for index in used)
    segments = [_segment(request, name, views, hole) for name in (TARGET, BACKGROUND)]
    bundle = make_bundle({"request": request, "segments": segments}, limits or BundleLimits())
    return Sanitized(bundle, views, tuple(skipped), made)


def private_segments(
    photos: Sequence[SegmentedPhoto], *, size_px: int = 256
) -> dict[str, list[Photo]]:
    """The private segments P^t and P^b of eq. 2, to be embedded at home: they never travel.

    Returns:
        By segment: the target objects on plain ground ``(size_px, size_px, 3)``, and the frames
        with the target object's place filled ``(h, w, 3)``.
    """
    fit = [item for item in photos if _unfit(item.target_mask, True) is None]
    return {
        TARGET: [
            on_plain_ground(cut_out(item.photo.pixels, item.target_mask, size_px)) for item in fit
        ],
        BACKGROUND: [
            take_background(item.photo.pixels, item.target_mask, "inpaint").pixels for item in fit
        ],
    }


def _choose(
    request: TrainingRequest, photos: Sequence[SegmentedPhoto]
) -> tuple[list[int], list[Skipped]]:
    """Which photos can be used; raises when some are needed and none can."""
    needs_background = request.privacy.background != Scheme.L0
    reasons = [_unfit(item.target_mask, needs_background) for item in photos]
    used = [index for index, reason in enumerate(reasons) if reason is None]
    skipped = [Skipped(index, reason) for index, reason in enumerate(reasons) if reason is not None]
    if not used and {request.privacy.target, request.privacy.background} != {Scheme.L0}:
        raise NoTargetFoundError(
            f"none of {len(photos)} photo(s) can be used"
            + (f": {'; '.join(sorted({item.reason for item in skipped}))}" if skipped else ""),
            remedy="take photos on which the target object is whole and its surroundings show",
        )
    return used, skipped


def _unfit(mask: Mask, needs_background: bool) -> str | None:
    """Why a photo with this mask cannot be used; None when it can."""
    if not mask.any():
        return "the target object is not on it"
    x0, y0, x1, y1 = bounding_box(mask)
    if max(x1 - x0, y1 - y0) < LEAST_TARGET_PX:
        return f"the target object is smaller than {LEAST_TARGET_PX} pixels"
    if needs_background and not has_background(mask):
        return "the target object leaves no background"
    return None


def _view(
    request: TrainingRequest,
    index: int,
    item: SegmentedPhoto,
    size_px: int,
    hole: HoleMode,
    models: FeatureModels,
) -> PhotoView:
    photo, mask = item.photo.pixels, item.target_mask
    width, height = frame_size(photo.shape[1], photo.shape[0])
    target = _target_image(request, item, size_px, models)
    background = _background_image(request, photo, mask, hole, models)
    return PhotoView(
        index,
        PrivatePhoto(resize(photo, width, height)),
        resize(np.where(mask, np.uint8(255), np.uint8(0)), width, height) >= 128,
        {
            TARGET: None if target is None else _lay_back(_grey(target), mask, width, height),
            BACKGROUND: None if background is None else _grey(background),
        },
        {TARGET: target, BACKGROUND: background},
    )


def _target_image(
    request: TrainingRequest, item: SegmentedPhoto, size_px: int, models: FeatureModels
) -> Pixels | None:
    """Of the target object: None, a feature map, or the RGBA cut-out; ``size_px`` a side."""
    if request.privacy.target == Scheme.L0:
        return None
    mask = item.target_mask
    cutout = cut_out(item.photo.pixels, mask, size_px)
    inside = cutout[..., 3] > 0
    segment = SegmentInput(
        TARGET,
        on_plain_ground(cutout, ground=0),
        inside,
        np.zeros_like(inside),
        box=_box_in_cutout(mask, size_px),
        keypoints=_in_cutout(item.keypoints, mask, size_px),
        models=models,
    )
    if request.privacy.target == Scheme.L2:
        return _obfuscated(request, segment, cutout)
    return extract_image(get_feature(request.feature_of(TARGET)), segment, (1, 3))


def _background_image(
    request: TrainingRequest, photo: Photo, mask: Mask, hole: HoleMode, models: FeatureModels
) -> Pixels | None:
    """Of the background: None, a feature map with an empty box, or RGBA pixels."""
    scheme = request.privacy.background
    if scheme == Scheme.L0:
        return None
    taken = take_background(photo, mask, hole if scheme == Scheme.L2 else "inpaint")
    whole = np.ones_like(taken.hole)
    if scheme == Scheme.L2:
        alpha = np.full(taken.hole.shape, 255, np.uint8)
        if hole != "inpaint":
            alpha[taken.hole] = 0
        segment = SegmentInput(BACKGROUND, taken.pixels, alpha > 0, ~whole, models=models)
        return _obfuscated(request, segment, np.dstack([taken.pixels, alpha]))
    # Filled first, so that the box's border is no edge; then emptied, for the fill is not the room.
    side = 2 * _SEAM_PX + 1
    seam = cv2.dilate(taken.hole.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    segment = SegmentInput(BACKGROUND, taken.pixels, whole, seam, models=models)
    drawn = extract_image(get_feature(request.feature_of(BACKGROUND)), segment, (1, 3))
    drawn[seam] = 0
    return drawn


def _obfuscated(request: TrainingRequest, segment: SegmentInput, rgba: Pixels) -> Pixels:
    """L2's pixels as they leave: plain, with noise (§5.5), or through a plugin's scheme (§7).

    Their alpha is kept, and what is transparent stays zero.
    """
    sigma = request.noise.get(segment.segment)
    if sigma is not None:
        return add_noise(rgba, sigma, request.seed, device_secret())
    name = request.schemes.get(segment.segment)
    if name is None:
        return rgba
    colours = extract_image(get_scheme(name), segment, (3,))
    colours[rgba[..., 3] == 0] = 0
    return np.dstack([colours, rgba[..., 3]])


def _box_in_cutout(mask: Mask, size_px: int) -> tuple[int, int, int, int]:
    """The bounding box in the cut-out's pixels, of the mask's box alone and not of its outline."""
    left, top, side = cut_out_square(mask)
    zoom = size_px / side
    x0, y0, x1, y1 = bounding_box(mask)
    return (
        round((x0 - left) * zoom),
        round((y0 - top) * zoom),
        max(round((x1 - left) * zoom), round((x0 - left) * zoom) + 1),
        max(round((y1 - top) * zoom), round((y0 - top) * zoom) + 1),
    )


def _in_cutout(keypoints: Keypoints | None, mask: Mask, size_px: int) -> Keypoints | None:
    """``keypoints`` of the photo in the cut-out's pixels."""
    if keypoints is None:
        return None
    left, top, side = cut_out_square(mask)
    moved = keypoints.astype(np.float32, copy=True)
    moved[:, :2] = (moved[:, :2] + 0.5 - (left, top)) * (size_px / side) - 0.5
    return moved


def _segment(
    request: TrainingRequest, name: str, views: Sequence[PhotoView], hole: HoleMode
) -> dict[str, Any]:
    """The fields of a SanitizedSegment."""
    scheme = request.privacy.of(name)
    images = [view.images[name] for view in views]
    return {
        "name": name,
        "scheme": scheme,
        "text": request.words_of(name),
        "feature": request.feature_of(name) if scheme == Scheme.L1 else None,
        "hole": hole if scheme == Scheme.L2 and name == BACKGROUND else None,
        "images": tuple(encode_png(image) for image in images if image is not None),
    }


def _grey(image: Pixels) -> Grey:
    """Grey levels of a map, RGB or RGBA image; transparent is zero."""
    if image.ndim == 2:
        return image
    if image.shape[2] == 4:
        image = on_plain_ground(image, ground=0)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def _lay_back(cutout: Grey, mask: Mask, width: int, height: int) -> Grey:
    """Put a square cut-out back where it was taken, in the frame scaled to ``width x height``."""
    left, top, side = cut_out_square(mask)
    zoom = cutout.shape[0] / side
    # From a pixel's centre in the scaled frame, by way of the photo, to one in the cut-out.
    step_x, step_y = zoom * mask.shape[1] / width, zoom * mask.shape[0] / height
    matrix = np.array(
        [
            [step_x, 0.0, 0.5 * step_x - zoom * left - 0.5],
            [0.0, step_y, 0.5 * step_y - zoom * top - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(cutout, matrix, (width, height), flags=flags), np.uint8)
