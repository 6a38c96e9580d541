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


@dataclass(frozen=True)
class CutOut:
    """An object found on plain ground.

    Attributes:
        image: the drawing, RGB ``(H, W, 3)``.
        mask: ``(H, W)``, the largest component, its holes filled.
    """

    image: Photo
    mask: Mask


def find_object(image: Photo, settings: CutoutConfig) -> CutOut | Broken:
    """Cut the object out of ``image`` ``(H, W, 3)``, or say why it is broken."""
    frame = _frame(image)
    ground = np.median(frame, axis=0)
    if np.abs(ground - GROUND).max() > settings.ground_tolerance:
        return Broken.GROUND
    parts = _components(_distance(image, ground), settings)
    if not parts:
        return Broken.EMPTY
    mask = _filled(parts[0])
    share = float(mask.mean())
    if share < settings.min_area_share:
        return Broken.EMPTY
    if share > settings.max_area_share:
        return Broken.HUGE
    if len(parts) > 1 and parts[1].sum() > settings.max_second_share * parts[0].sum():
        return Broken.FRAGMENTED
    if _frame(mask).mean() > settings.max_border_share:
        return Broken.CUT_OFF
    return CutOut(image, mask)


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


def _filled(mask: Mask) -> Mask:
    """``mask`` without holes."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(filled, outlines, -1, 1, thickness=cv2.FILLED)
    return filled.astype(bool)
