"""The background segment: the frame with the target objects' places removed and filled.

A hole of the target's shape would tell its silhouette; so would a fill computed from the pixels
around it. What the filled frame tells is one box an object, grown, and nothing of what was in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from spinml.bundle import HoleMode
from spinml.images import Mask, Photo, bounding_box, resize

FRAME_PX = 512
"""Longest side of a background that is sent."""
GROWTH = 0.06
"""How far a hole is grown on each side, as a share of its longer side."""
GROWTH_PX = 3
"""… and by this many pixels more, for soft edges and the segmenter's own error."""
LEAST_BACKGROUND = 0.1
"""A frame with a smaller share of background around its hole holds none."""

_FILL_PX = 128
_FILL_RADIUS_PX = 4


@dataclass(frozen=True)
class Background:
    """A frame with the target object removed, scaled so that its longer side is ≤ FRAME_PX."""

    pixels: Photo
    """Shape ``(h, w, 3)``; the hole is zero, or filled when its mode is "inpaint"."""
    hole: Mask
    """Shape ``(h, w)``; True where the frame was removed."""


def frame_size(width: int, height: int) -> tuple[int, int]:
    """The size at which a frame of ``width x height`` is sent."""
    scale = min(1.0, FRAME_PX / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def hole_of(masks: Sequence[Mask], mode: HoleMode) -> Mask:
    """What is removed for target objects at ``masks``, at least one and none empty.

    Of each its bounding box, grown, or at "silhouette" itself grown.
    """
    hole = np.zeros_like(masks[0])
    for mask in masks:
        x0, y0, x1, y1 = bounding_box(mask)
        by = GROWTH_PX + round(GROWTH * max(x1 - x0, y1 - y0))
        if mode == "silhouette":
            distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
            hole |= distance <= by
        else:
            hole[max(0, y0 - by) : y1 + by, max(0, x0 - by) : x1 + by] = True
    return hole


def has_background(masks: Sequence[Mask]) -> bool:
    """Whether enough of the frame is left around the target objects' boxes."""
    return bool(1 - hole_of(masks, "box").mean() >= LEAST_BACKGROUND)


def take_background(photo: Photo, masks: Sequence[Mask], mode: HoleMode) -> Background:
    """The background of ``photo``; pixels inside the hole have no influence on it.

    They are zeroed before the frame is scaled, and a scaled pixel that any of them touches
    belongs to the hole.

    Args:
        masks: of all target objects on the photo, whatever is shared of them.
    """
    hole = hole_of(masks, mode)
    width, height = frame_size(photo.shape[1], photo.shape[0])
    pixels, hole = _without(photo, hole, width, height)
    if mode == "inpaint":
        pixels = _fill(pixels, hole)
    return Background(pixels, hole)


def _without(photo: Photo, hole: Mask, width: int, height: int) -> tuple[Photo, Mask]:
    """Scale to ``width x height`` with the hole at zero; the scaled hole covers all it touches."""
    kept = np.where(hole, np.uint8(0), np.uint8(255))
    scaled = resize(np.where(hole[..., None], np.uint8(0), photo), width, height)
    scaled_hole = resize(kept, width, height) < 255
    scaled[scaled_hole] = 0
    return scaled, scaled_hole


def _fill(pixels: Photo, hole: Mask) -> Photo:
    """Continue the surroundings into the hole (Telea 2004), at low resolution: smooth and quick."""
    height, width = hole.shape
    scale = min(1.0, _FILL_PX / max(width, height))
    small, small_hole = _without(
        pixels, hole, max(1, round(width * scale)), max(1, round(height * scale))
    )
    filled = cv2.inpaint(small, small_hole.astype(np.uint8), _FILL_RADIUS_PX, cv2.INPAINT_TELEA)
    smooth = cv2.resize(
        np.asarray(filled, np.uint8), (width, height), interpolation=cv2.INTER_LINEAR
    )
    return np.where(hole[..., None], np.asarray(smooth, np.uint8), pixels)
