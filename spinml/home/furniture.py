"""Furniture built of primitives.

Every maker returns parts in its own frame: x along the wall (centred), y from the wall into the
room (back at y = 0), z up, in metres; and its footprint ``(width, depth, height)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from spinml.home.scenes import RGB, Part, Quat, Vec3

WOODS: tuple[RGB, ...] = (
    (0.72, 0.52, 0.32), (0.5, 0.32, 0.18), (0.86, 0.7, 0.48), (0.33, 0.2, 0.12), (0.92, 0.9, 0.86),
    (0.62, 0.36, 0.2), (0.25, 0.24, 0.24),
)  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """One piece of furniture in its own frame."""

    parts: tuple[Part, ...]
    width: float
    depth: float
    height: float


def yaw_quat(degrees: float) -> Quat:
    """A turn about the vertical axis."""
    half = math.radians(degrees) / 2
    return (math.cos(half), 0.0, 0.0, math.sin(half))


def place(piece: Piece, x: float, y: float, yaw_deg: float) -> tuple[Part, ...]:
    """The piece's parts in the room's frame, its origin at ``(x, y)``."""
    c, s = math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg))
    turn = yaw_quat(yaw_deg)
    moved = []
    for part in piece.parts:
        px, py, pz = part.pos
        pos = (x + c * px - s * py, y + s * px + c * py, pz)
        moved.append(replace(part, pos=pos, quat=_multiply(turn, part.quat)))
    return tuple(moved)


def _multiply(a: Quat, b: Quat) -> Quat:
    w0, x0, y0, z0 = a
    w1, x1, y1, z1 = b
    return (
        w0 * w1 - x0 * x1 - y0 * y1 - z0 * z1,
        w0 * x1 + x0 * w1 + y0 * z1 - z0 * y1,
        w0 * y1 - x0 * z1 + y0 * w1 + z0 * x1,
        w0 * z1 + x0 * y1 - y0 * x1 + z0 * w1,
    )


class Workshop:
    """Makes furniture; holds the random generator and the room's materials."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.wood_rgb = _jitter(WOODS[int(rng.integers(len(WOODS)))], rng)
        self.wood = f"wood_{rng.integers(4)}_cube"
        self.cloths = [self._cloth() for _ in range(3)]

    def between(self, low: float, high: float) -> float:
        """A uniform number."""
        return float(self.rng.uniform(low, high))

    def _cloth(self) -> tuple[RGB, str]:
        rgb = any_colour(self.rng)
        return rgb, f"fabric_{self.rng.integers(6)}_cube"

    def cloth(self) -> tuple[RGB, str]:
        """One of the room's fabrics: colour and texture."""
        return self.cloths[int(self.rng.integers(len(self.cloths)))]

    def box(self, pos: Vec3, half: Vec3, rgb: RGB | None = None, texture: str = "") -> Part:
        """A box of the room's wood, or of the colour and texture that are given."""
        if rgb is None:
            return Part("box", half, pos, self.wood_rgb, texture or self.wood)
        return Part("box", half, pos, rgb, texture or "plain")

    def legs(self, w: float, d: float, h: float, thick: float = 0.025) -> list[Part]:
        """Four legs under a ``w`` by ``d`` top that stands against the wall."""
        xs, ys = (-w / 2 + thick, w / 2 - thick), (thick, d - thick)
        return [self.box((x, y, h / 2), (thick, thick, h / 2)) for x in xs for y in ys]

    def bed(self) -> Piece:
        """A bed, its head or its long side against the wall."""
        if self.rng.random() < 0.5:
            return self._bed_lengthwise()
        long, wide, top = self.between(1.9, 2.1), self.between(0.9, 1.4), self.between(0.4, 0.6)
        piece = self._bed(long, wide, top)
        turned = place(piece, -long / 2, wide / 2, -90.0)
        return Piece(turned, long, wide, top + 0.2)

    def _bed_lengthwise(self) -> Piece:
        long, wide, top = self.between(1.9, 2.1), self.between(1.2, 1.8), self.between(0.4, 0.6)
        return self._bed(long, wide, top)

    def _bed(self, long: float, wide: float, top: float) -> Piece:
        (sheet, sheet_tex), (cover, cover_tex) = self.cloth(), self.cloth()
        w, d, frame = wide / 2, long / 2, top - 0.22
        head = self.between(top + 0.15, top + 0.6)
        parts = [
            self.box((0, 0.02, head / 2), (w, 0.03, head / 2)),
            self.box((0, d, frame / 2 + 0.04), (w, d, frame / 2 - 0.04)),
            self.box((0, d, top - 0.12), (w - 0.03, d - 0.02, 0.11), (0.93, 0.92, 0.9)),
            self.box((0, d * 1.25, top - 0.06), (w + 0.01, d * 0.76, 0.1), cover, cover_tex),
        ]
        for x in (-w / 2, w / 2) if wide > 1.1 else (0.0,):
            parts.append(
                Part("ellipsoid", (0.3, 0.18, 0.09), (x, 0.3, top + 0.06), sheet, sheet_tex)
            )
        return Piece(tuple(parts), wide, long, head)

    def nightstand(self) -> Piece:
        """A small cupboard with a lamp."""
        w, d, h = self.between(0.35, 0.5), self.between(0.32, 0.42), self.between(0.42, 0.6)
        shade = _jitter((0.95, 0.88, 0.7), self.rng)
        parts = [
            self.box((0, d / 2, h / 2), (w / 2, d / 2, h / 2)),
            self.box((0, d + 0.005, h * 0.7), (w / 2 - 0.03, 0.008, h * 0.16)),
            Part("sphere", (0.015, 0, 0), (0, d + 0.02, h * 0.7), (0.8, 0.75, 0.6)),
            Part("cylinder", (0.015, 0.1, 0), (0, d / 2, h + 0.1), (0.4, 0.4, 0.4)),
            Part("cylinder", (0.11, 0.08, 0), (0, d / 2, h + 0.26), shade),
        ]
        return Piece(tuple(parts), w, d, h + 0.35)

    def wardrobe(self) -> Piece:
        """A tall cupboard with two doors."""
        w, d, h = self.between(0.8, 1.4), self.between(0.5, 0.6), self.between(1.8, 2.2)
        parts = [self.box((0, d / 2, h / 2), (w / 2, d / 2, h / 2))]
        for x in (-w / 4, w / 4):
            parts.append(self.box((x, d + 0.006, h / 2), (w / 4 - 0.015, 0.01, h / 2 - 0.04)))
            knob = (x - math.copysign(w / 4 - 0.05, x), d + 0.03, h / 2)
            parts.append(Part("sphere", (0.02, 0, 0), knob, (0.8, 0.78, 0.7)))
        return Piece(tuple(parts), w, d, h)

    def dresser(self) -> Piece:
        """A low chest of drawers."""
        w, d, h = self.between(0.8, 1.3), self.between(0.4, 0.5), self.between(0.65, 0.9)
        parts = [self.box((0, d / 2, h / 2), (w / 2, d / 2, h / 2))]
        rows = int(self.rng.integers(2, 5))
        for r in range(rows):
            z = (r + 0.5) * h / rows
            parts.append(self.box((0, d + 0.006, z), (w / 2 - 0.03, 0.01, h / rows / 2 - 0.02)))
            for x in (-w / 4, w / 4):
                parts.append(Part("sphere", (0.018, 0, 0), (x, d + 0.025, z), (0.85, 0.8, 0.65)))
        return Piece(tuple(parts), w, d, h)

    def sofa(self) -> Piece:
        """A sofa or, when narrow, an armchair."""
        rgb, tex = self.cloth()
        w = self.between(0.9, 1.0) if self.rng.random() < 0.25 else self.between(1.5, 2.2)
        d, seat, back = self.between(0.75, 0.95), self.between(0.38, 0.46), self.between(0.7, 0.9)
        parts = [
            self.box((0, d / 2, seat / 2 + 0.04), (w / 2, d / 2, seat / 2 - 0.04), rgb, tex),
            self.box((0, 0.1, back / 2 + 0.04), (w / 2, 0.1, back / 2 - 0.04), rgb, tex),
        ]
        for x in (-w / 2 + 0.08, w / 2 - 0.08):
            arm = (0.08, d / 2, seat * 0.7)
            parts.append(self.box((x, d / 2, seat * 0.7 + 0.02), arm, rgb, tex))
        for k in range(int(self.rng.integers(0, 3))):
            colour, weave = self.cloth()
            x = self.between(-w / 2 + 0.3, w / 2 - 0.3)
            size = (0.2, 0.07, 0.17)
            parts.append(Part("ellipsoid", size, (x, 0.27 + 0.04 * k, seat + 0.16), colour, weave))
        return Piece(tuple(parts), w, d, back)

    def table(self) -> Piece:
        """A low table that stands free of the wall."""
        w, d, h = self.between(0.6, 1.2), self.between(0.4, 0.65), self.between(0.38, 0.75)
        top = self.box((0, d / 2, h), (w / 2, d / 2, 0.02))
        return Piece((top, *self.legs(w, d, h)), w, d, h)

    def shelf(self) -> Piece:
        """A book shelf with coloured books."""
        w, d, h = self.between(0.6, 1.1), 0.3, self.between(1.2, 2.0)
        parts = [self.box((x, d / 2, h / 2), (0.015, d / 2, h / 2)) for x in (-w / 2, w / 2)]
        parts.append(self.box((0, 0.01, h / 2), (w / 2, 0.01, h / 2)))
        levels = 4
        for level in range(levels + 1):
            z = 0.04 + level * (h - 0.06) / levels
            parts.append(self.box((0, d / 2, z), (w / 2, d / 2, 0.015)))
            if level < levels:
                parts += self._books(w, d, z + 0.015)
        return Piece(tuple(parts), w, d, h)

    def _books(self, w: float, d: float, z: float) -> list[Part]:
        x = -w / 2 + 0.03
        books: list[Part] = []
        while x < w / 2 - 0.2 and len(books) < 4:
            thick, tall = self.between(0.04, 0.12), self.between(0.15, 0.24)
            pos, half = (x + thick / 2, d / 2, z + tall / 2), (thick / 2, d / 2 - 0.03, tall / 2)
            books.append(self.box(pos, half, any_colour(self.rng)))
            x += thick + (self.between(0.05, 0.2) if self.rng.random() < 0.4 else 0.004)
        return books

    def counter(self) -> Piece:
        """A kitchen counter with doors and a work top."""
        w, d, h = self.between(1.6, 2.8), 0.6, self.between(0.85, 0.95)
        front, top = any_colour(self.rng, 0.5), _jitter((0.5, 0.48, 0.46), self.rng, 0.25)
        parts = [
            self.box((0, d / 2, h / 2), (w / 2, d / 2 - 0.02, h / 2 - 0.02), front),
            self.box((0, d / 2, h), (w / 2 + 0.02, d / 2 + 0.02, 0.02), top),
        ]
        doors = max(2, round(w / 0.55))
        for k in range(doors):
            x = -w / 2 + (k + 0.5) * w / doors
            size = (w / doors / 2 - 0.012, 0.012, h / 2 - 0.09)
            parts.append(self.box((x, d - 0.015, h / 2 + 0.03), size, front, self.wood))
            grip = (0.06, 0.012, 0.008)
            parts.append(self.box((x, d + 0.01, h - 0.14), grip, (0.75, 0.75, 0.75)))
        return Piece(tuple(parts), w, d, h)

    def fridge(self) -> Piece:
        """A refrigerator."""
        w, d, h = 0.6, 0.62, self.between(1.5, 1.9)
        grey = self.between(0.7, 0.95)
        rgb = (grey, grey, grey)
        parts = (
            self.box((0, d / 2, h * 0.33), (w / 2, d / 2, h * 0.325), rgb),
            self.box((0, d / 2, h * 0.835), (w / 2, d / 2, h * 0.165), rgb),
            self.box((-w / 2 + 0.05, d + 0.02, h * 0.5), (0.012, 0.015, 0.15), (0.4, 0.4, 0.4)),
        )
        return Piece(parts, w, d, h)

    def desk(self) -> Piece:
        """A desk with a screen."""
        w, d, h = self.between(1.1, 1.6), self.between(0.55, 0.75), self.between(0.7, 0.76)
        parts = [self.box((0, d / 2, h), (w / 2, d / 2, 0.018)), *self.legs(w, d, h)]
        parts.append(
            self.box((w / 2 - 0.22, d / 2, h / 2 + 0.05), (0.2, d / 2 - 0.04, h / 2 - 0.07))
        )
        parts.append(self.box((-0.1, 0.2, h + 0.25), (0.28, 0.015, 0.17), (0.08, 0.08, 0.1)))
        parts.append(self.box((-0.1, 0.2, h + 0.05), (0.03, 0.03, 0.06), (0.2, 0.2, 0.2)))
        return Piece(tuple(parts), w, d, h)

    def chair(self) -> Piece:
        """A wooden chair, its back to the wall."""
        w, seat, back = 0.42, 0.45, self.between(0.8, 0.95)
        rgb, tex = self.cloth()
        parts = [
            *self.legs(w, w, seat),
            self.box((0, w / 2, seat), (w / 2, w / 2, 0.025), rgb, tex),
        ]
        parts.append(self.box((0, 0.02, (seat + back) / 2), (w / 2, 0.015, (back - seat) / 2)))
        return Piece(tuple(parts), w, w, back)

    def plant(self) -> Piece:
        """A pot plant."""
        tall = self.between(0.4, 0.9)
        pot = any_colour(self.rng, 0.6)
        parts = [Part("cylinder", (0.13, 0.13, 0), (0, 0.18, 0.13), pot)]
        for _ in range(6):
            x, y = self.between(-0.12, 0.12), 0.18 + self.between(-0.1, 0.1)
            green = (self.between(0.1, 0.3), self.between(0.35, 0.6), self.between(0.1, 0.3))
            z = 0.3 + tall * self.between(0.3, 0.8)
            parts.append(Part("ellipsoid", (0.08, 0.08, tall * 0.3), (x, y, z), green))
        return Piece(tuple(parts), 0.4, 0.38, tall + 0.4)

    def carton(self) -> Piece:
        """A box on the floor."""
        w, d, h = self.between(0.25, 0.5), self.between(0.25, 0.45), self.between(0.15, 0.4)
        rgb = (0.7, 0.55, 0.38) if self.rng.random() < 0.5 else any_colour(self.rng)
        return Piece((self.box((0, d / 2, h / 2), (w / 2, d / 2, h / 2), rgb),), w, d, h)

    def cushion(self) -> Piece:
        """A floor cushion or a dog bed."""
        rgb, tex = self.cloth()
        a, b, h = self.between(0.25, 0.42), self.between(0.22, 0.36), self.between(0.05, 0.1)
        return Piece(
            (Part("ellipsoid", (a, b, h), (0, b, h * 0.8), rgb, tex),), 2 * a, 2 * b, 2 * h
        )


def any_colour(rng: np.random.Generator, dull: float = 1.0) -> RGB:
    """A fabric or paint colour; ``dull`` below 1 takes saturation away."""
    hue, sat, val = rng.random(), rng.beta(1.5, 2.0) * dull, rng.uniform(0.25, 0.95)
    k = [(n + hue * 6) % 6 for n in (5, 3, 1)]
    r, g, b = (float(val - val * sat * max(0.0, min(v, 4 - v, 1.0))) for v in k)
    return (r, g, b)


def _jitter(rgb: RGB, rng: np.random.Generator, amount: float = 0.06) -> RGB:
    r, g, b = (float(min(1.0, max(0.0, c + rng.uniform(-amount, amount)))) for c in rgb)
    return (r, g, b)


MAKERS: dict[str, Callable[[Workshop], Piece]] = {
    name: getattr(Workshop, name)
    for name in (
        "bed", "nightstand", "wardrobe", "dresser", "sofa", "table", "shelf", "counter", "fridge",
        "desk", "chair", "plant", "carton", "cushion",
    )
}  # fmt: skip
