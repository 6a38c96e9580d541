"""Placing a cut-out object in an image and pasting it over its painted background (§3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from spinml.images import GROUND, Mask, Photo, bounding_box
from spinml.synthesis.cutout import CutOut


@dataclass(frozen=True)
class Placed:
    """An object in an image that is otherwise empty.

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


def paste(placed: Placed, background: Photo) -> Photo:
    """The object's own pixels over ``background`` ``(px, px, 3)``, with soft edges."""
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
