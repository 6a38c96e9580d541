"""Placing cut-out objects in an image and pasting them over their painted background (§3.3, §7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from spinml.images import GROUND, Mask, Photo, bounding_box
from spinml.synthesis.cutout import CutOut
from spinml.synthesis.seeds import derive_seed

MOST_HIDDEN = 0.5
"""An object of which later ones hide a larger share is not in the image as far as one can see."""
PLACINGS = 24
"""How often an object is placed until none is hidden too much."""


@dataclass(frozen=True)
class Placed:
    """An object (or several) in an image that is otherwise empty.

    Attributes:
        colours: RGB ``(px, px, 3)``; plain ground where the object is not.
        alpha: how much of each pixel the object covers, float32 in [0, 1], ``(px, px)``.
    """

    colours: Photo
    alpha: npt.NDArray[np.float32]

    @property
    def mask(self) -> Mask:
        """``(px, px)``, True where the object covers most of the pixel."""
        return self.alpha > 0.5

    @property
    def box(self) -> tuple[int, int, int, int]:
        """``(x0, y0, x1, y1)`` of the mask in pixels, the end exclusive."""
        return bounding_box(self.mask)

    def scaled(self, size_px: int) -> Placed:
        """The same at another size, ``(size_px, size_px)``."""
        if size_px == len(self.alpha):
            return self
        return Placed(*_scaled(self.colours, self.alpha, size_px, size_px))


def place(cut: CutOut, size_px: int, scale_range: tuple[float, float], seed: int) -> Placed:
    """The object at a random scale and place, wholly inside a square image.

    Args:
        size_px: side of the image.
        scale_range: least and greatest share of the image's side that the object's longer side is.

    The place is even from left to right and more often low than high, where things stand.
    """
    rng = np.random.default_rng(seed)
    x0, y0, x1, y1 = bounding_box(cut.mask)
    alpha = cut.alpha[y0:y1, x0:x1]
    factor = rng.uniform(*scale_range) * size_px / max(x1 - x0, y1 - y0)
    width, height = (int(np.clip(round(side * factor), 2, size_px)) for side in (x1 - x0, y1 - y0))
    colours, alpha = _scaled(cut.image[y0:y1, x0:x1], alpha, width, height)
    left = int(rng.integers(0, size_px - width + 1))
    top = round(rng.beta(2.0, 1.0) * (size_px - height))
    canvas = np.full((size_px, size_px, 3), GROUND, np.uint8)
    covered = np.zeros((size_px, size_px), np.float32)
    canvas[top : top + height, left : left + width] = colours
    covered[top : top + height, left : left + width] = alpha
    return Placed(canvas, covered)


@dataclass(frozen=True)
class Scene:
    """Objects in an image that has no background yet.

    Attributes:
        whole: all of them as one.
        masks: of each the visible part ``(px, px)``, True where the object covers most of the
            pixel and no later one does.
    """

    whole: Placed
    masks: tuple[Mask, ...]

    @property
    def boxes(self) -> list[tuple[int, int, int, int]]:
        """``(x0, y0, x1, y1)`` of each visible part in pixels, the end exclusive."""
        return [bounding_box(mask) for mask in self.masks]


def arrange(
    cuts: Sequence[CutOut], size_px: int, scale_range: tuple[float, float], seed: int
) -> Scene | None:
    """All objects in one image, each as :func:`place` puts it, later ones before earlier ones.

    An object is placed again, and smaller every time within ``scale_range``, as long as it hides
    more than ``MOST_HIDDEN`` of one that stands already.

    Args:
        cuts: at least one.

    Returns:
        None when ``PLACINGS`` placings of an object were not enough.
    """
    whole = place(cuts[0], size_px, scale_range, seed)
    masks, areas = [whole.mask], [int(whole.mask.sum())]
    least, most = scale_range
    for number, cut in enumerate(cuts[1:], start=1):
        for attempt in range(PLACINGS):
            scales = (least, most - (most - least) * attempt / PLACINGS)
            placed = place(cut, size_px, scales, derive_seed(seed, number, attempt))
            left = [mask & ~placed.mask for mask in masks]
            if all(
                mask.sum() > 0 and mask.sum() >= (1 - MOST_HIDDEN) * area
                for mask, area in zip(left, areas, strict=True)
            ):
                break
        else:
            return None
        masks, areas = [*left, placed.mask], [*areas, int(placed.mask.sum())]
        whole = _over(placed, whole)
    return Scene(whole, tuple(masks))


def _over(front: Placed, behind: Placed) -> Placed:
    """One object before another, as one."""
    alpha = front.alpha + behind.alpha * (1.0 - front.alpha)
    weighted = (
        front.colours * front.alpha[..., None]
        + behind.colours * (behind.alpha * (1.0 - front.alpha))[..., None]
    )
    colours = np.divide(
        weighted,
        alpha[..., None],
        out=np.full(weighted.shape, GROUND, weighted.dtype),
        where=alpha[..., None] > 1 / 512,
    )
    mixed = np.asarray(colours.round().clip(0, 255), np.uint8)
    return Placed(mixed, np.asarray(alpha.clip(0.0, 1.0), np.float32))


def paste(placed: Placed, background: Photo) -> Photo:
    """The objects' own pixels over ``background`` ``(px, px, 3)``, with soft edges."""
    alpha = placed.alpha[..., None]
    mixed = placed.colours * alpha + background * (1.0 - alpha)
    return np.asarray(mixed.round().clip(0, 255), np.uint8)


def _scaled(
    colours: Photo, alpha: npt.NDArray[np.float32], width: int, height: int
) -> tuple[Photo, npt.NDArray[np.float32]]:
    """Resampled with colours weighted by coverage, so that no ground bleeds in."""
    shrinks = width < colours.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    layers = np.dstack([colours * alpha[..., None], alpha]).astype(np.float32)
    layers = cv2.resize(layers, (width, height), interpolation=method)
    coverage = layers[..., 3]
    pure = np.divide(
        layers[..., :3],
        coverage[..., None],
        out=np.full_like(layers[..., :3], GROUND),
        where=coverage[..., None] > 1 / 512,
    )
    return np.asarray(pure.round().clip(0, 255), np.uint8), coverage.clip(0.0, 1.0)
