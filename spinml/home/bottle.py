"""The pill bottle: a turned mesh, and its texture with a printed label."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spinml.home.geometry import Floats, matrix_of
from spinml.home.scenes import RGB, Bottle, BottleLook
from spinml.home.tubes import MeshTopology, TubeTopology, tube

BOTTLE_PX = 256
_SIDES = 24
_PROFILE = np.array(
    [  # height and radius in shares of the bottle's
        (0.0, 0.01), (0.0, 0.9), (0.02, 0.98), (0.12, 1.0), (0.25, 1.0), (0.4, 1.0), (0.55, 1.0),
        (0.64, 1.0), (0.69, 0.97), (0.73, 0.84), (0.75, 0.78), (0.76, 0.98), (0.78, 1.02),
        (0.86, 1.02), (0.95, 1.02), (0.985, 0.97), (1.0, 0.9), (1.0, 0.01),
    ]
)  # fmt: skip
_CAP_RING, _LABEL_RINGS = 10.5, (2.4, 7.0)
BODIES: dict[str, RGB] = {
    "orange": (0.86, 0.42, 0.1), "white": (0.9, 0.9, 0.88), "brown": (0.4, 0.22, 0.1),
    "green": (0.25, 0.5, 0.28), "blue": (0.25, 0.4, 0.66), "yellow": (0.9, 0.72, 0.25),
}  # fmt: skip
BANDS: dict[str, RGB] = {
    "blue": (0.16, 0.3, 0.66), "red": (0.74, 0.16, 0.16), "green": (0.16, 0.5, 0.28),
    "black": (0.12, 0.12, 0.13), "purple": (0.44, 0.2, 0.55), "yellow": (0.9, 0.74, 0.16),
}  # fmt: skip
CAPS: tuple[RGB, ...] = ((0.93, 0.93, 0.92), (0.14, 0.14, 0.15), (0.2, 0.36, 0.66))


def sample_bottle_look(rng: np.random.Generator) -> BottleLook:
    """A random pill bottle, mostly orange with a white cap."""
    weights = np.array([3.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    word = str(rng.choice(list(BODIES), p=weights / weights.sum()))
    band = str(rng.choice(list(BANDS)))
    height = float(rng.uniform(0.1, 0.15))
    return BottleLook(
        word=word,
        band_word=band,
        body=_near(BODIES[word], rng),
        band=_near(BANDS[band], rng),
        cap=_near(CAPS[rng.choice(3, p=(0.8, 0.1, 0.1))], rng),
        seed=int(rng.integers(2**31)),
        radius_m=height * float(rng.uniform(0.24, 0.34)),
        height_m=height,
    )


def _near(rgb: RGB, rng: np.random.Generator) -> RGB:
    r, g, b = (float(np.clip(c + rng.uniform(-0.04, 0.04), 0.03, 0.96)) for c in rgb)
    return (r, g, b)


def bottle_topology() -> MeshTopology:
    """Faces and texture coordinates of :func:`bottle_vertices`."""
    return MeshTopology.of([TubeTopology(len(_PROFILE), _SIDES, (0.0, 0.0, 1.0, 1.0))])


def bottle_vertices(bottle: Bottle) -> Floats:
    """Vertices in the room's frame, shape ``(v, 3)``, metres."""
    zeros = np.zeros(len(_PROFILE))
    radius = _PROFILE[:, 1] * bottle.look.radius_m
    centres = np.stack([zeros, zeros, _PROFILE[:, 0] * bottle.look.height_m], 1)
    local = tube(
        centres, np.stack([radius, zeros, zeros], 1), np.stack([zeros, radius, zeros], 1), _SIDES
    )
    return np.asarray(bottle.pos + local @ matrix_of(bottle.quat).T)


def paint_bottle(look: BottleLook) -> NDArray[np.uint8]:
    """The bottle's texture, shape ``(256, 256, 3)``; row 0 is the foot."""
    rng = np.random.default_rng(look.seed)
    n, rings = BOTTLE_PX, len(_PROFILE) - 1
    canvas = np.empty((n, n, 3), np.float32)
    canvas[:] = look.body
    _pills(canvas, look, rng)
    cap = round(_CAP_RING / rings * n)
    canvas[cap:] = look.cap
    ridges = (np.arange(n) // 4 % 2 == 0)[None, :, None]
    canvas[cap : round(15 / rings * n)] *= np.where(ridges, 1.0, 0.84).astype(np.float32)
    low, high = (round(ring / rings * n) for ring in _LABEL_RINGS)
    around = int(rng.uniform(0.7, 0.9) * n)
    _label(canvas[low:high, (n - around) // 2 : (n + around) // 2], look, rng)
    return np.asarray(canvas.clip(0, 1) * 255, np.uint8)


def _pills(canvas: NDArray[np.float32], look: BottleLook, rng: np.random.Generator) -> None:
    """What shines through: pills below, lighter air above them."""
    n = BOTTLE_PX
    level = round(rng.uniform(0.2, 0.5) * n)
    body = np.array(look.body, np.float32)
    canvas[level:] = 0.78 * body + 0.22
    for _ in range(70):
        x, y = int(rng.integers(n)), int(rng.integers(0, level))
        r, g, b = (float(v) for v in 0.75 * body + rng.uniform(0.05, 0.22))
        cv2.ellipse(canvas, (x, y), (9, 6), float(rng.uniform(0, 180)), 0, 360, (r, g, b), -1)


def _label(paper: NDArray[np.float32], look: BottleLook, rng: np.random.Generator) -> None:
    """White paper with a coloured band, a heading and lines of print; the top row is last."""
    paper[:] = (0.95, 0.95, 0.93)
    height, width = paper.shape[:2]
    paper[round(0.78 * height) :] = look.band
    rows = np.linspace(0.68, 0.1, int(rng.integers(4, 7)))
    for line, share in enumerate(rows):
        at, thick = round(float(share) * height), 5 if line == 0 else 3
        x = round(0.06 * width)
        while x < width * 0.9:
            word = int(rng.integers(6, 26))
            paper[at : at + thick, x : min(x + word, round(width * 0.94))] = (0.2, 0.2, 0.24)
            x += word + 5
            if rng.random() < 0.1:
                break
    if rng.random() < 0.5:
        paper[round(0.08 * height) : round(0.2 * height), round(0.7 * width) :] = look.band
