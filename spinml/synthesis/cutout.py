"""From a drawn object on plain ground to the object alone, or the reason why it is broken."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from spinml.config import CutoutConfig
from spinml.images import GROUND, Mask, Photo

_Pixel = TypeVar("_Pixel", np.uint8, np.bool_)
_FRAME_PX = 2
_RIM_PX = 3.0
"""How far inside an object's outline the ground may shine through."""
_LEAST_ALPHA = 0.25
"""Colours of thinner cover are not divided by less: noise would be enlarged."""
_KERNEL = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))


class Broken(StrEnum):
    """Why a drawn object cannot be used."""

    GROUND = "ground"
    """The ground is not the plain grey that the prompt asks for."""
    EMPTY = "empty"
    """Hardly anything stands out from the ground."""
    HUGE = "huge"
    """The object fills the image."""
    FRAGMENTED = "fragmented"
    """Several parts of similar size."""
    CUT_OFF = "cut_off"
    """The object runs out of the image."""
    LABEL = "label"
    """The text-image encoder does not see the wanted class."""
    HIDDEN = "hidden"
    """No place was found where the image's objects do not hide each other."""


@dataclass(frozen=True)
class CutOut:
    """An object found on plain ground.

    Attributes:
        image: the object's own colours, without the ground that shines through its rim, RGB
            ``(H, W, 3)``; of no meaning where ``alpha`` is 0.
        alpha: how much of each pixel the object covers, float32 in [0, 1], ``(H, W)``.
    """

    image: Photo
    alpha: npt.NDArray[np.float32]

    @property
    def mask(self) -> Mask:
        """``(H, W)``, True where the object covers most of the pixel."""
        return self.alpha > 0.5


def find_object(image: Photo, settings: CutoutConfig) -> CutOut | Broken:
    """Cut the object out of ``image`` ``(H, W, 3)``, or say why it is broken."""
    frame = _frame(image)
    ground = np.median(frame, axis=0)
    if np.abs(ground - GROUND).max() > settings.ground_tolerance:
        return Broken.GROUND
    distance = _distance(image, ground)
    parts = _components(distance, settings)
    if not parts:
        return Broken.EMPTY
    mask = _filled(parts[0], settings.max_hole_share)
    share = float(mask.mean())
    if share < settings.min_area_share:
        return Broken.EMPTY
    if share > settings.max_area_share:
        return Broken.HUGE
    if len(parts) > 1 and parts[1].sum() > settings.max_second_share * parts[0].sum():
        return Broken.FRAGMENTED
    if _frame(mask).mean() > settings.max_border_share:
        return Broken.CUT_OFF
    alpha = _coverage(distance, mask, settings)
    if not (alpha > 0.5).any():
        return Broken.EMPTY
    return CutOut(_own_colours(image, ground, alpha), alpha)


def _frame(image: npt.NDArray[_Pixel]) -> npt.NDArray[_Pixel]:
    """The outermost pixels, shape ``(n, ...)``."""
    inside = np.zeros(image.shape[:2], bool)
    inside[_FRAME_PX:-_FRAME_PX, _FRAME_PX:-_FRAME_PX] = True
    return image[~inside]


def _distance(image: Photo, ground: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Largest difference from the ground over the channels, lightly smoothed, ``(H, W)``."""
    difference = np.abs(image.astype(np.float32) - ground.astype(np.float32)).max(axis=2)
    return np.asarray(cv2.GaussianBlur(difference, (3, 3), 0), np.float32)


def _components(distance: npt.NDArray[np.float32], settings: CutoutConfig) -> list[Mask]:
    """Parts that differ a little everywhere and clearly somewhere, largest first.

    Two thresholds, as Canny's: fur near the ground's grey stays where it touches fur that is not.
    """
    weak = (distance > settings.weak_difference).astype(np.uint8)
    weak = cv2.morphologyEx(weak, cv2.MORPH_CLOSE, _KERNEL, iterations=2)
    weak = cv2.morphologyEx(weak, cv2.MORPH_OPEN, _KERNEL)
    count, numbers = cv2.connectedComponents(weak, connectivity=4)
    strong = distance > settings.strong_difference
    masks = [numbers == number for number in range(1, count)]
    kept = [mask for mask in masks if (mask & strong).any()]
    return sorted(kept, key=lambda mask: int(mask.sum()), reverse=True)


def _filled(mask: Mask, max_hole_share: float) -> Mask:
    """``mask`` with its small holes filled; through larger ones, as between legs, one sees."""
    count, numbers, statistics, _ = cv2.connectedComponentsWithStats(
        (~mask).astype(np.uint8), connectivity=4
    )
    areas = statistics[:, cv2.CC_STAT_AREA]
    small = [n for n in range(1, count) if areas[n] <= max_hole_share * mask.size]
    return mask | np.isin(numbers, small)


def _coverage(
    distance: npt.NDArray[np.float32], mask: Mask, settings: CutoutConfig
) -> npt.NDArray[np.float32]:
    """Alpha ``(H, W)``: 1 inside; along the outline, the difference from the ground as a share of
    the largest near by, so that the pale rim that models draw around dark objects goes."""
    side = 2 * round(_RIM_PX) + 1
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    low, high = settings.weak_difference / 2, cv2.dilate(distance * mask, near)
    seen = (distance - low) / np.maximum(high - low, settings.strong_difference - low)
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(np.maximum(seen, depth - _RIM_PX).clip(0.0, 1.0) * mask, np.float32)


def _own_colours(
    image: Photo, ground: npt.NDArray[np.floating], alpha: npt.NDArray[np.float32]
) -> Photo:
    """The colours c of which ``image`` = alpha c + (1 - alpha) ``ground`` is the mixture."""
    cover = alpha[..., None]
    own = (image - (1.0 - cover) * ground) / np.maximum(cover, _LEAST_ALPHA)
    return np.asarray(own.round().clip(0, 255), np.uint8)
