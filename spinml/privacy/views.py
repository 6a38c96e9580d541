"""One photo through the sanitizer: of each segment the images that leave, by their schemes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from spinml.bundle import HoleMode
from spinml.images import (
    Mask,
    Photo,
    bounding_box,
    cut_out,
    cut_out_square,
    on_plain_ground,
    resize,
)
from spinml.privacy.background import frame_size, take_background
from spinml.privacy.extractor import FeatureModels, SegmentInput
from spinml.privacy.features import get_feature
from spinml.privacy.noise import add_noise
from spinml.privacy.plugins import extract_image, get_scheme
from spinml.privacy.private import DeviceOnly, Keypoints, PrivatePhoto, SegmentedPhoto
from spinml.privacy.secret import device_secret
from spinml.privacy.usable import Skipped, Usable, usable
from spinml.request import BACKGROUND, Scheme, TrainingRequest

_SEAM_PX = 2
"""Edges this near to a background's hole may be the hole's own."""

Pixels = npt.NDArray[np.uint8]
Grey = npt.NDArray[np.uint8]
"""Grey levels, shape ``(h, w)``."""


@dataclass(frozen=True, repr=False)
class SentImage(DeviceOnly):
    """An image that leaves, and where it was taken."""

    segment: str
    scheme: Scheme
    """L1 or L2."""
    image: Pixels
    """The very image, in its own frame."""
    in_frame: Grey
    """Its grey levels laid back where it was taken, in the photo's frame ``(h, w)``; zero
    elsewhere."""


@dataclass(frozen=True, repr=False)
class PhotoView(DeviceOnly):
    """One photo beside what was made of it, in one frame: to measure and to preview at home.

    All arrays share ``(h, w)``: the photo scaled so that its longer side is ≤ 512.
    """

    index: int
    """The photo's place in the sequence that was given to :func:`sanitize`."""
    photo: PrivatePhoto
    masks: Mapping[str, Mask]
    """Where the target objects are that were found, by segment; all else is background."""
    sent: tuple[SentImage, ...]
    """What leaves of it, target objects first; nothing of a segment at L0."""

    def image(self, segment: str, scheme: Scheme) -> Pixels | None:
        """The image of ``segment`` that leaves at ``scheme``; None when none does."""
        for item in self.sent:
            if (item.segment, item.scheme) == (segment, scheme):
                return item.image
        return None

    def __repr__(self) -> str:
        return f"PhotoView({self.index}, {self.photo!r})"


@dataclass(frozen=True)
class Way:
    """How segments become images, beside what the request says."""

    size_px: int = 256
    """Side of a target object's square cut-out."""
    hole: HoleMode = "inpaint"
    """How target objects' places leave a background at L2."""
    models: FeatureModels = field(default_factory=FeatureModels)


def take_views(
    request: TrainingRequest, photos: Sequence[SegmentedPhoto], way: Way
) -> tuple[list[PhotoView], list[Skipped]]:
    """The views of the photos that can be used, and the others with their reasons.

    Raises: as :func:`spinml.privacy.sanitizer.sanitize`, but for photos that are missing and for
        limits.
    """
    views, skipped = [], []
    for index, item in enumerate(photos):
        found = usable(request, item)
        if isinstance(found, str):
            skipped.append(Skipped(index, found))
        else:
            views.append(_view(request, index, item, found, way))
    return views, skipped


def _view(
    request: TrainingRequest, index: int, item: SegmentedPhoto, found: Usable, way: Way
) -> PhotoView:
    photo = item.photo.pixels
    width, height = frame_size(photo.shape[1], photo.shape[0])
    sent = []
    for name, scheme in request.disclosures:
        if scheme == Scheme.L0:
            continue
        if name in found.objects:
            mask = found.found[name]
            image = _object_image(request, name, scheme, item, mask, way)
            in_frame = _lay_back(_grey(image), mask, width, height)
            sent.append(SentImage(name, scheme, image, in_frame))
        elif name == BACKGROUND and found.background:
            image = _background_image(request, scheme, photo, list(found.found.values()), way)
            sent.append(SentImage(name, scheme, image, _grey(image)))
    masks = {
        name: resize(np.where(mask, np.uint8(255), np.uint8(0)), width, height) >= 128
        for name, mask in found.found.items()
    }
    return PhotoView(index, PrivatePhoto(resize(photo, width, height)), masks, tuple(sent))


def _object_image(
    request: TrainingRequest,
    name: str,
    scheme: Scheme,
    item: SegmentedPhoto,
    mask: Mask,
    way: Way,
) -> Pixels:
    """Of a target object: a feature map at L1, the RGBA cut-out at L2; ``size_px`` a side."""
    cutout = cut_out(item.photo.pixels, mask, way.size_px)
    inside = cutout[..., 3] > 0
    segment = SegmentInput(
        name,
        on_plain_ground(cutout, ground=0),
        inside,
        np.zeros_like(inside),
        box=_box_in_cutout(mask, way.size_px),
        keypoints=_in_cutout(item.keypoints, mask, way.size_px),
        models=way.models,
    )
    if scheme == Scheme.L2:
        return _obfuscated(request, segment, cutout)
    return extract_image(get_feature(request.feature_of(name)), segment, (1, 3))


def _background_image(
    request: TrainingRequest, scheme: Scheme, photo: Photo, masks: Sequence[Mask], way: Way
) -> Pixels:
    """Of the background: a feature map with empty boxes at L1, RGBA pixels at L2."""
    taken = take_background(photo, masks, way.hole if scheme == Scheme.L2 else "inpaint")
    whole = np.ones_like(taken.hole)
    if scheme == Scheme.L2:
        alpha = np.full(taken.hole.shape, 255, np.uint8)
        if way.hole != "inpaint":
            alpha[taken.hole] = 0
        segment = SegmentInput(BACKGROUND, taken.pixels, alpha > 0, ~whole, models=way.models)
        return _obfuscated(request, segment, np.dstack([taken.pixels, alpha]))
    # Filled first, so that the box's border is no edge; then emptied, for the fill is not the room.
    side = 2 * _SEAM_PX + 1
    seam = cv2.dilate(taken.hole.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    segment = SegmentInput(BACKGROUND, taken.pixels, whole, seam, models=way.models)
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
