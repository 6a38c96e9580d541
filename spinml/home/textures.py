"""A bank of tileable grey textures that a geom's colour tints: nothing is uploaded per scene."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

TEXTURE_PX = 256
Texture = NDArray[np.uint8]
VARIANTS = {
    "wood": 4, "plank": 4, "tile": 3, "carpet": 3, "fabric": 6, "paper": 5, "picture": 12,
    "print": 4, "photo": 8,
}  # fmt: skip
"""How many textures of each kind there are; they are called ``wood_0``, ``wood_1`` …"""


@lru_cache(maxsize=1)
def texture_bank() -> dict[str, Texture]:
    """All textures by name, each ``(256, 256, 3)``."""
    makers = {
        "wood": _wood, "plank": _plank, "tile": _tile, "carpet": _carpet,
        "fabric": _fabric, "paper": _paper, "picture": _picture, "print": _print, "photo": _photo,
    }  # fmt: skip
    bank = {}
    for order, (kind, count) in enumerate(VARIANTS.items()):
        for i in range(count):
            grey = makers[kind](np.random.default_rng([order, i]), i)
            rgb = grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)
            bank[f"{kind}_{i}"] = np.ascontiguousarray((rgb.clip(0, 1) * 255).astype(np.uint8))
    return bank


def _noise(rng: np.random.Generator, sx: float, sy: float) -> NDArray[np.float32]:
    """Smooth tileable noise in about -1..1, blurred by ``sx`` and ``sy`` pixels."""
    raw = rng.standard_normal((TEXTURE_PX, TEXTURE_PX)).astype(np.float32)
    tiled = np.tile(raw, (3, 3))
    smooth = cv2.GaussianBlur(tiled, (0, 0), sigmaX=max(sx, 0.1), sigmaY=max(sy, 0.1))
    n = TEXTURE_PX
    part = smooth[n : 2 * n, n : 2 * n]
    return np.asarray(part / (2.5 * part.std() + 1e-6), np.float32)


def _grid() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    axis = np.arange(TEXTURE_PX, dtype=np.float32) / TEXTURE_PX
    x, y = np.meshgrid(axis, axis)
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def _wood(rng: np.random.Generator, i: int) -> NDArray[np.float32]:
    _, y = _grid()
    rings = np.sin(2 * np.pi * (rng.integers(3, 7) * y + 0.5 * _noise(rng, 30, 6)))
    return np.asarray(0.86 + 0.07 * rings + 0.08 * _noise(rng, 25, 1), np.float32)


def _plank(rng: np.random.Generator, i: int) -> NDArray[np.float32]:
    rows, n = (4, 6, 8, 5)[i % 4], TEXTURE_PX
    grey = 0.84 + 0.07 * _noise(rng, 22, 1.0)
    height = n // rows
    for r in range(rows):
        top = r * height
        bottom = n if r == rows - 1 else top + height
        cut = int(rng.integers(0, n))
        grey[top:bottom, :cut] *= rng.uniform(0.78, 1.12)
        grey[top:bottom, cut:] *= rng.uniform(0.78, 1.12)
        grey[top : top + 2] *= 0.55
        grey[top:bottom, cut : cut + 2] *= 0.55
    return np.asarray(grey, np.float32)


def _tile(rng: np.random.Generator, i: int) -> NDArray[np.float32]:
    cells, n = (2, 4, 2)[i % 3], TEXTURE_PX
    grey = 0.9 + 0.04 * _noise(rng, 6, 6)
    step = n // cells
    for r in range(cells):
        for c in range(cells):
            dark = 0.62 if i == 2 and (r + c) % 2 else rng.uniform(0.94, 1.06)
            grey[r * step : (r + 1) * step, c * step : (c + 1) * step] *= dark
    for k in range(cells):
        grey[k * step : k * step + 4] = 0.6
        grey[:, k * step : k * step + 4] = 0.6
    return np.asarray(grey, np.float32)


def _carpet(rng: np.random.Generator, i: int) -> NDArray[np.float32]:
    return np.asarray(0.85 + 0.1 * _noise(rng, 1, 1) + 0.05 * _noise(rng, 12, 12), np.float32)


def _fabric(rng: np.random.Generator, i: int) -> NDArray[np.float32]:
    x, y = _grid()
    k = int(rng.integers(3, 7))
    weave = 0.88 + 0.05 * _noise(rng, 0.8, 0.8) + 0.05 * _noise(rng, 20, 20)
    stripes_x, stripes_y = np.sin(2 * np.pi * k * x) > 0, np.sin(2 * np.pi * k * y) > 0
    if i == 2:
        weave *= 1 - 0.35 * stripes_x
    if i == 3:
        weave *= (1 - 0.22 * stripes_x) * (1 - 0.22 * stripes_y)
    if i == 4:
        dots = np.sin(2 * np.pi * k * x) * np.sin(2 * np.pi * k * y) > 0.7
        weave *= 1 - 0.4 * dots
    if i == 5:
        weave *= 1 - 0.3 * (_noise(rng, 9, 9) > 0.3)
    return np.asarray(weave, np.float32)


def _paper(rng: np.random.Generator, i: int) -> NDArray[np.float32]:
    x, y = _grid()
    grey = 0.95 + 0.015 * _noise(rng, 30, 30) + 0.01 * _noise(rng, 1, 1)
    if i == 3:
        grey *= 1 - 0.1 * (np.sin(2 * np.pi * 8 * x) > 0)
    if i == 4:
        grey *= 1 - 0.14 * (np.sin(2 * np.pi * 6 * x) * np.sin(2 * np.pi * 6 * y) > 0.75)
    return np.asarray(grey, np.float32)


def _picture(rng: np.random.Generator, i: int) -> NDArray[np.float32]:
    """A small abstract painting: a soft colour field with a few discs and bars."""
    n = TEXTURE_PX
    top, bottom = rng.uniform(0.2, 1, 3), rng.uniform(0.1, 0.9, 3)
    ramp = np.linspace(0, 1, n, dtype=np.float32)[:, None, None]
    canvas = np.repeat(top * (1 - ramp) + bottom * ramp, n, axis=1).astype(np.float32)
    for _ in range(int(rng.integers(2, 7))):
        colour = tuple(float(c) for c in rng.uniform(0, 1, 3))
        a, b = (int(v) for v in rng.integers(0, n, 2))
        if rng.random() < 0.5:
            cv2.circle(canvas, (a, b), int(rng.integers(10, 70)), colour, -1, cv2.LINE_AA)
        else:
            size = int(rng.integers(20, 110))
            cv2.rectangle(canvas, (a, b), (a + size, b + size // 2), colour, -1)
    border = 10
    canvas[:border] = canvas[-border:] = 0.95
    canvas[:, :border] = canvas[:, -border:] = 0.95
    return np.asarray(canvas, np.float32)


def _print(rng: np.random.Generator, i: int) -> NDArray[np.float32]:
    """A printed page: a heading, lines of words, perhaps a picture; two columns on odd ones."""
    n = TEXTURE_PX
    page = np.full((n, n), 0.97, np.float32)
    columns = ((18, 238),) if i % 2 == 0 else ((14, 120), (136, 242))
    page[16:30, 18 : int(rng.integers(120, 230))] = 0.2
    for left, right in columns:
        picture = int(rng.integers(60, 180)) if rng.random() < 0.6 else n
        for y in range(44, n - 20, 12):
            if picture <= y < picture + 48:
                page[y : y + 12, left:right] = 0.55
                continue
            x = left
            while x < right - 8:
                word = int(rng.integers(8, 28))
                page[y : y + 5, x : min(x + word, right)] = 0.35
                x += word + 5
    return page


def _photo(rng: np.random.Generator, i: int) -> NDArray[np.float32]:
    """A photograph on paper: sky, land, and one or two people from the waist up."""
    n = TEXTURE_PX
    sky, land = rng.uniform(0.5, 0.95, 3) * (0.8, 0.95, 1.05), rng.uniform(0.2, 0.6, 3)
    canvas = np.empty((n, n, 3), np.float32)
    canvas[:] = sky
    canvas[int(rng.uniform(0.5, 0.75) * n) :] = land
    for x in np.linspace(0.3, 0.7, 2) * n if i % 2 else (n * rng.uniform(0.4, 0.6),):
        shirt, skin = rng.uniform(0.1, 0.9, 3), rng.uniform(0.45, 0.9) * np.array((1, 0.77, 0.63))
        top = int(n * rng.uniform(0.3, 0.45))
        at, size = int(x), 30
        cv2.ellipse(canvas, (at, n), (62, n - top - 48), 0, 0, 360, shirt.tolist(), -1, cv2.LINE_AA)
        cv2.circle(canvas, (at, top - 4), size + 5, rng.uniform(0.05, 0.6, 3).tolist(), -1)
        cv2.ellipse(canvas, (at, top + 6), (size - 4, size), 0, 0, 360, skin.tolist(), -1)
    return canvas
