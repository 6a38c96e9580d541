"""Fur: paints the dog's skin texture from where each texel lies on the standing dog."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spinml.home.scenes import Fur

Floats = NDArray[np.float32]


class FurPainter:
    """Knows where every texel of the skin lies; :meth:`paint` colours them.

    Args:
        vertices: skin vertices of the standing dog, shape ``(v, 3)``, metres, x forward, z up.
        texcoords: texture coordinates, shape ``(v, 2)``, taken modulo 1.
        faces: vertex ids, shape ``(f, 3)``.
        original: the texture that dm_control ships, shape ``(px, px, 3)``: eyes' rims, nose.
    """

    def __init__(
        self, vertices: Any, texcoords: Any, faces: Any, original: NDArray[np.uint8], px: int
    ) -> None:
        self.px = px
        self.positions = _rasterise(np.asarray(vertices), np.asarray(texcoords), faces, px)
        self.shade = _shade(original, px)
        low, high = np.asarray(vertices).min(0), np.asarray(vertices).max(0)
        self.unit = ((self.positions - low) / (high - low)).astype(np.float32)

    def paint(self, fur: Fur) -> NDArray[np.uint8]:
        """The skin texture, shape ``(px, px, 3)``."""
        rng = np.random.default_rng(fur.seed)
        weight = self._second(fur, rng)[..., None]
        base, second = np.array(fur.base, np.float32), np.array(fur.second, np.float32)
        tone = 1 + 0.14 * _waves(self.positions, rng, 9.0, 3)[..., None]
        strands = rng.standard_normal((self.px, self.px)).astype(np.float32)
        strands = cv2.GaussianBlur(strands, (0, 0), 0.8)[..., None] * 0.12 * (1 + fur.rough)
        colour = (base * (1 - weight) + second * weight) * tone + strands * (0.3 + 0.5 * weight)
        return np.asarray((colour * self.shade).clip(0, 1) * 255, np.uint8)

    def _second(self, fur: Fur, rng: np.random.Generator) -> Floats:
        """How far each texel has the second colour, ``(px, px)`` in 0..1."""
        x, z = self.unit[..., 0], self.unit[..., 2]
        noise = _waves(self.positions, rng, 14.0, 5)
        if fur.pattern == "solid":
            return np.zeros_like(x)
        if fur.pattern == "patches":
            return _step(noise + fur.line - 0.5, fur.rough)
        if fur.pattern == "spots":
            return _step(_waves(self.positions, rng, 45.0, 6) - 0.25 - 0.5 * fur.line, fur.rough)
        if fur.pattern == "brindle":
            return self._brindle(fur, noise)
        height = z + 0.10 * noise * (0.5 + fur.rough)
        if fur.pattern == "saddle":
            return _step(fur.line + 0.12 - height + 0.4 * np.maximum(x - 0.72, 0), 0.12 + fur.rough)
        if fur.pattern == "socks":
            return _step(0.28 * fur.line + 0.08 - height, 0.05 + fur.rough * 0.3)
        return self._belly(fur, height)

    def _belly(self, fur: Fur, height: Floats) -> Floats:
        """White belly, chest, legs and muzzle, as a husky or a collie has."""
        x, y = self.unit[..., 0], np.abs(self.unit[..., 1] - 0.5)
        low = _step(0.38 + 0.3 * fur.line - height, 0.05 + 0.3 * fur.rough)
        muzzle = _step(x - 0.93, 0.05)
        blaze = _step(x - 0.86, 0.04) * _step(0.07 - y, 0.04)
        return np.asarray(np.maximum(low, np.maximum(muzzle, blaze)), np.float32)

    def _brindle(self, fur: Fur, noise: Floats) -> Floats:
        """Broad bands around the body that break its outline up."""
        x, z = self.positions[..., 0], self.positions[..., 2]
        phase = 2 * np.pi * (x * 4.2 + z * 2.2) * (0.7 + fur.line) + 2.4 * noise
        return _step(np.sin(phase).astype(np.float32) - 0.05, 0.25 + fur.rough)


def _step(value: Floats, soft: float) -> Floats:
    """0 below ``-soft``, 1 above ``soft``, smooth between."""
    t = (value / (2 * max(soft, 1e-3)) + 0.5).clip(0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _waves(points: Floats, rng: np.random.Generator, per_m: float, count: int) -> Floats:
    """A smooth random field in about -1..1 over ``points`` ``(..., 3)``."""
    total = np.zeros(points.shape[:-1], np.float32)
    for _ in range(count):
        direction = (rng.standard_normal(3) * per_m).astype(np.float32)
        total += np.sin(points @ direction + np.float32(rng.uniform(0, 6.28)))
    return np.asarray(total / np.sqrt(count), np.float32)


def _rasterise(vertices: Any, texcoords: Any, faces: Any, px: int) -> Floats:
    """Position of every texel, ``(px, px, 3)``; texels off the skin take their neighbour's."""
    faces = np.asarray(faces)
    corner_xyz, corner_uv = vertices[faces], texcoords[faces]
    steps = 8
    grid = [(i, j) for i in range(steps + 1) for j in range(steps + 1 - i)]
    uvw = np.array([(i, j, steps - i - j) for i, j in grid], np.float32) / steps
    xyz = np.einsum("sk,fkc->fsc", uvw, corner_xyz).reshape(-1, 3)
    uv = np.einsum("sk,fkc->fsc", uvw, corner_uv).reshape(-1, 2) % 1.0
    column, row = (np.minimum((uv * px).astype(int), px - 1)).T
    positions = np.zeros((px, px, 3), np.float32)
    known = np.zeros((px, px), np.uint8)
    positions[row, column] = xyz
    known[row, column] = 1
    return _spread(positions, known)


def _spread(positions: Floats, known: NDArray[np.uint8]) -> Floats:
    """Fill unknown texels with the nearest known one's value."""
    _, labels = cv2.distanceTransformWithLabels(
        1 - known, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    values = np.zeros((int(labels.max()) + 1, 3), np.float32)
    values[labels[known > 0]] = positions[known > 0]
    return np.asarray(values[labels], np.float32)


def _shade(original: NDArray[np.uint8], px: int) -> Floats:
    """Dark details of the shipped skin (nose, lips, rims), ``(px, px, 1)`` in 0..1."""
    small = cv2.resize(original, (px, px), interpolation=cv2.INTER_AREA)
    grey = small.astype(np.float32).mean(axis=2) / 255
    typical = float(np.median(grey))
    return np.asarray((grey / typical).clip(0.15, 1.1)[..., None], np.float32)
