"""Clothes, skin and hair: draws outfits at random and paints a person's texture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spinml.home.body import RECTS
from spinml.home.scenes import RGB, Outfit
from spinml.home.tubes import Rect

Floats = NDArray[np.float32]
SKIN_PX = 512

TOPS: dict[str, RGB] = {
    "red": (0.66, 0.13, 0.13), "blue": (0.2, 0.33, 0.62), "green": (0.2, 0.42, 0.26),
    "grey": (0.5, 0.5, 0.52), "white": (0.9, 0.9, 0.88), "beige": (0.76, 0.66, 0.5),
    "brown": (0.38, 0.25, 0.16), "black": (0.13, 0.13, 0.14), "purple": (0.42, 0.25, 0.5),
    "pink": (0.84, 0.5, 0.58), "yellow": (0.86, 0.7, 0.24),
}  # fmt: skip
TROUSERS: dict[str, RGB] = {
    "black": (0.12, 0.12, 0.13), "grey": (0.4, 0.4, 0.42), "blue": (0.18, 0.25, 0.42),
    "brown": (0.34, 0.23, 0.15), "beige": (0.72, 0.63, 0.48), "green": (0.25, 0.3, 0.2),
}  # fmt: skip
SKINS: tuple[RGB, ...] = (
    (0.88, 0.68, 0.56), (0.82, 0.6, 0.46), (0.7, 0.48, 0.34), (0.52, 0.34, 0.23),
    (0.36, 0.23, 0.16),
)  # fmt: skip
HAIRS: tuple[RGB, ...] = (
    (0.86, 0.86, 0.84), (0.68, 0.68, 0.69), (0.5, 0.5, 0.52), (0.3, 0.22, 0.16), (0.7, 0.6, 0.45),
)  # fmt: skip
PATTERNS = ("plain", "plain", "striped", "checked", "cardigan")
HAIR_STYLES = ("short", "short", "long", "bald")


def sample_outfit(rng: np.random.Generator) -> Outfit:
    """A random senior person's looks."""
    top, legs = str(rng.choice(list(TOPS))), str(rng.choice(list(TROUSERS)))
    return Outfit(
        top_word=top,
        legs_word=legs,
        top=_near(TOPS[top], rng),
        legs=_near(TROUSERS[legs], rng),
        shoes=_near(((0.15, 0.12, 0.1), (0.4, 0.27, 0.16), (0.8, 0.8, 0.8))[rng.integers(3)], rng),
        skin=_near(SKINS[rng.choice(5, p=(0.3, 0.25, 0.2, 0.13, 0.12))], rng),
        hair=_near(HAIRS[rng.choice(5, p=(0.35, 0.28, 0.17, 0.1, 0.1))], rng),
        hair_style=str(rng.choice(HAIR_STYLES)),
        pattern=str(rng.choice(PATTERNS)),
        long_sleeves=bool(rng.random() < 0.7),
        glasses=bool(rng.random() < 0.4),
        girth=float(rng.uniform(0.92, 1.2)),
        seed=int(rng.integers(2**31)),
    )


def _near(rgb: RGB, rng: np.random.Generator) -> RGB:
    gain = rng.uniform(0.85, 1.15)
    r, g, b = (float(np.clip(c * gain + rng.uniform(-0.03, 0.03), 0.03, 0.96)) for c in rgb)
    return (r, g, b)


def paint_outfit(outfit: Outfit) -> NDArray[np.uint8]:
    """The person's texture, shape ``(512, 512, 3)``."""
    rng = np.random.default_rng(outfit.seed)
    canvas = np.zeros((SKIN_PX, SKIN_PX, 3), np.float32)
    painters = {
        "trunk": _trunk, "head": _head, "hair": _hair, "arm": _arm, "leg": _leg, "shoe": _shoe
    }  # fmt: skip
    for name, paint in painters.items():
        tile = _tile(canvas, RECTS[name])
        paint(tile, outfit, rng)
        grain = rng.standard_normal(tile.shape[:2]).astype(np.float32)
        rough = 0.16 if name == "hair" else 0.05
        tile *= 1 + rough * cv2.GaussianBlur(grain, (0, 0), 1)[..., None]
    return np.asarray(canvas.clip(0, 1) * 255, np.uint8)


def _tile(canvas: Floats, rect: Rect) -> Floats:
    """The view of ``canvas`` that a rectangle covers."""
    u0, v0, u1, v1 = (round(c * SKIN_PX) for c in rect)
    return canvas[v0:v1, u0:u1]


def _rows(tile: Floats, low: float, high: float) -> slice:
    """The rows between two shares of a tile's height."""
    return slice(round(low * tile.shape[0]), round(high * tile.shape[0]))


def _cloth(tile: Floats, outfit: Outfit, around: int, down: int) -> None:
    """The top's colour and pattern; ``around`` and ``down`` count stripes."""
    tile[:] = outfit.top
    height, width = tile.shape[:2]
    rows = (np.arange(height) * 2 * down // height % 2 == 1)[:, None]
    columns = (np.arange(width) * 2 * around // width % 2 == 1)[None]
    light = np.array(outfit.top, np.float32) * 0.45 + 0.45
    if outfit.pattern == "striped":
        tile[np.broadcast_to(rows, tile.shape[:2])] = light
    if outfit.pattern == "checked":
        tile *= (1 - 0.3 * rows - 0.3 * columns)[..., None].astype(np.float32)


def _trunk(tile: Floats, outfit: Outfit, rng: np.random.Generator) -> None:
    """Trousers' waist, belt, top, collar and neck, from below; the front is in the middle."""
    width = tile.shape[1]
    _cloth(tile, outfit, 8, 11)
    tile[_rows(tile, 0, 0.2)] = outfit.legs
    tile[_rows(tile, 0.2, 0.225)] = np.array(outfit.legs, np.float32) * 0.5
    middle = slice(width // 2 - width // 24, width // 2 + width // 24)
    if outfit.pattern == "cardigan":
        tile[_rows(tile, 0.23, 0.78), middle] = (0.88, 0.88, 0.86)
    elif rng.random() < 0.5:
        tile[_rows(tile, 0.23, 0.72), width // 2 - 1 : width // 2 + 1] *= 0.7
        for share in np.linspace(0.27, 0.7, 6):
            at = round(float(share) * tile.shape[0])
            tile[at : at + 3, width // 2 - 2 : width // 2 + 2] = (0.9, 0.9, 0.88)
    tile[_rows(tile, 0.755, 0.79)] = np.array(outfit.top, np.float32) * 0.8
    tile[_rows(tile, 0.79, 1)] = outfit.skin


def _head(tile: Floats, outfit: Outfit, rng: np.random.Generator) -> None:
    """A face: brows, eyes, perhaps glasses, cheeks and mouth; row 0 is the chin."""
    tile[:] = outfit.skin
    skin = np.array(outfit.skin, np.float32)
    size = tile.shape[0]
    middle = size // 2

    def place(share_across: float, ring: float) -> tuple[int, int]:
        return middle + round(share_across * size), round(ring / 11 * size)

    for sign in (-1, 1):
        cheek = _rgb(skin * (1.02, 0.88, 0.86))
        cv2.circle(tile, place(0.1 * sign, 4.2), 14, cheek, -1, cv2.LINE_AA)
        eye = place(0.072 * sign, 5.95)
        cv2.ellipse(tile, eye, (9, 6), 0, 0, 360, (0.93, 0.93, 0.92), -1, cv2.LINE_AA)
        cv2.circle(tile, eye, 5, (0.16, 0.13, 0.12), -1, cv2.LINE_AA)
        brow = place(0.075 * sign, 6.75)
        cv2.ellipse(tile, brow, (14, 3), -6 * sign, 0, 360, _rgb(np.array(outfit.hair) * 0.8), -1)
        if outfit.glasses:
            cv2.ellipse(tile, eye, (17, 14), 0, 0, 360, (0.12, 0.1, 0.1), 3, cv2.LINE_AA)
            cv2.line(tile, eye, place(0.28 * sign, 6.1), (0.12, 0.1, 0.1), 3)
    mouth = _rgb(skin * (0.82, 0.55, 0.52))
    cv2.ellipse(tile, place(0.0, 2.75), (15, 4), 0, 0, 360, mouth, -1, cv2.LINE_AA)
    if outfit.hair_style != "long" and rng.random() < 0.3:
        cv2.ellipse(tile, place(0.0, 3.2), (20, 6), 0, 0, 360, _rgb(outfit.hair), -1, cv2.LINE_AA)


def _rgb(values: object) -> RGB:
    r, g, b = (float(v) for v in np.asarray(values))
    return (r, g, b)


def _hair(tile: Floats, outfit: Outfit, rng: np.random.Generator) -> None:
    tile[:] = outfit.hair
    strands = 1 + 0.12 * rng.standard_normal((1, tile.shape[1], 1)).astype(np.float32)
    tile *= strands


def _arm(tile: Floats, outfit: Outfit, rng: np.random.Generator) -> None:
    """A sleeve, long or short, and the skin of arm and hand."""
    _cloth(tile, outfit, 3, 12)
    cuff = 8.5 / 14 if outfit.long_sleeves else 3.6 / 14
    tile[_rows(tile, cuff - 0.04, cuff)] *= 0.75
    tile[_rows(tile, cuff, 1)] = outfit.skin


def _leg(tile: Floats, outfit: Outfit, rng: np.random.Generator) -> None:
    tile[:] = outfit.legs
    width = tile.shape[1]
    tile[:, width // 4 - 1 : width // 4 + 1] *= 0.8  # the seam
    tile[_rows(tile, 9.4 / 11, 1)] *= 0.7


def _shoe(tile: Floats, outfit: Outfit, rng: np.random.Generator) -> None:
    """Dark below, the middle column is the upper side."""
    tile[:] = outfit.shoes
    width = tile.shape[1]
    tile[:, : width // 6] *= 0.4
    tile[:, -width // 6 :] *= 0.4
