"""Rooms: walls, floor and furniture of four kinds, drawn at random."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from spinml.home.furniture import MAKERS, Piece, Workshop, any_colour, place
from spinml.home.scenes import RGB, Part, Quat, Room, Vec3

ROOM_KINDS = ("bedroom", "living room", "kitchen", "office")
KIND_WEIGHTS = (0.5, 0.2, 0.15, 0.15)
WALLS: dict[str, RGB] = {
    "white": (0.93, 0.93, 0.92), "beige": (0.86, 0.78, 0.64), "grey": (0.6, 0.61, 0.63),
    "blue": (0.42, 0.56, 0.78), "green": (0.5, 0.68, 0.48), "yellow": (0.92, 0.8, 0.42),
    "pink": (0.9, 0.64, 0.68), "red": (0.68, 0.28, 0.26), "orange": (0.88, 0.56, 0.32),
    "purple": (0.5, 0.38, 0.66),
}  # fmt: skip
CARPETS: dict[str, RGB] = {
    "grey": (0.5, 0.5, 0.52), "beige": (0.76, 0.68, 0.56), "blue": (0.28, 0.36, 0.56),
    "green": (0.3, 0.44, 0.32), "red": (0.56, 0.22, 0.22),
}  # fmt: skip
PLANKS: tuple[RGB, ...] = (
    (0.74, 0.54, 0.34), (0.54, 0.36, 0.22), (0.86, 0.72, 0.52), (0.4, 0.27, 0.18),
    (0.64, 0.44, 0.28),
)  # fmt: skip
FURNITURE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bedroom": (("bed", "nightstand"), ("wardrobe", "dresser", "nightstand", "shelf", "chair")),
    "living room": (("sofa", "table"), ("shelf", "sofa", "plant", "dresser", "plant")),
    "kitchen": (("counter", "fridge"), ("table", "chair", "chair", "plant", "counter")),
    "office": (("desk", "chair"), ("shelf", "shelf", "plant", "dresser", "carton")),
}
"""For each kind: what is always there, on the main wall, and what may be added."""
CLUTTER = ("carton", "cushion", "plant", "cushion")
HEIGHT_M = 2.5
_TURN_DEG = (0.0, 180.0, 90.0, -90.0)
"""Turns of furniture at the walls: near (-y), far (+y), right (+x), left (-x)."""


@dataclass
class _Plan:
    """A room while it is being furnished."""

    width: float
    depth: float
    parts: list[Part] = field(default_factory=list)
    blocked: list[tuple[float, float, float, float, float]] = field(default_factory=list)

    def free(self, x0: float, y0: float, x1: float, y1: float) -> bool:
        """Whether a footprint overlaps no other."""
        return all(x1 <= a or c <= x0 or y1 <= b or d <= y0 for a, b, c, d, _ in self.blocked)


def sample_room(
    rng: np.random.Generator, *, kind: str | None = None, wall_word: str | None = None
) -> Room:
    """A random room, its main furniture at the far (+y) wall; the middle is left free."""
    kind = kind or str(rng.choice(ROOM_KINDS, p=KIND_WEIGHTS))
    wall_word = wall_word or str(rng.choice(list(WALLS), p=_wall_weights()))
    shop = Workshop(rng)
    plan = _Plan(width=float(rng.uniform(3.4, 5.0)), depth=float(rng.uniform(4.2, 5.4)))
    floor_word = _shell(plan, kind, wall_word, rng)
    always, extra = FURNITURE[kind]
    for name in always:
        _against_wall(plan, MAKERS[name](shop), 1, rng)
    for name in rng.permutation(extra)[: int(rng.integers(1, 4))]:
        _against_wall(plan, MAKERS[str(name)](shop), int(rng.choice((1, 1, 2, 3))), rng)
    for _ in range(int(rng.integers(0, 4))):
        _clutter(plan, MAKERS[str(rng.choice(CLUTTER))](shop), rng)
    _decorate(plan, rng)
    if rng.random() < 0.45:
        _rug(plan, rng)
    return Room(
        kind, wall_word, floor_word, tuple(plan.parts), plan.width, plan.depth, tuple(plan.blocked)
    )


def _wall_weights() -> list[float]:
    raw = [2.0 if word in ("white", "beige", "grey") else 1.0 for word in WALLS]
    return [w / sum(raw) for w in raw]


def _shell(plan: _Plan, kind: str, wall_word: str, rng: np.random.Generator) -> str:
    """Floor, ceiling and four walls; returns the floor's word."""
    w, d, h = plan.width / 2, plan.depth / 2, HEIGHT_M / 2
    word, floor = _floor(kind, rng)
    wall = _near(WALLS[wall_word], rng, 0.05)
    paper = f"paper_{rng.choice(5, p=(0.3, 0.2, 0.2, 0.15, 0.15))}"
    plan.parts.append(replace(floor, size=(w, d, 0.02), pos=(0.0, 0.0, -0.02)))
    plan.parts.append(Part("box", (w, d, 0.02), (0, 0, HEIGHT_M + 0.02), (0.93, 0.93, 0.92)))
    side: Quat = (0.5, 0.5, 0.5, 0.5)
    front: Quat = (0.70710678, 0.70710678, 0.0, 0.0)
    for pos, size, quat in (
        ((0.0, d + 0.02, h), (w, h, 0.02), front),
        ((0.0, -d - 0.02, h), (w, h, 0.02), front),
        ((w + 0.02, 0.0, h), (d, h, 0.02), side),
        ((-w - 0.02, 0.0, h), (d, h, 0.02), side),
    ):
        plan.parts.append(Part("box", size, pos, wall, paper, quat))
    skirt = (0.9, 0.9, 0.88) if rng.random() < 0.7 else _near((0.45, 0.3, 0.2), rng, 0.1)
    plan.parts.append(Part("box", (w, 0.012, 0.045), (0, d - 0.012, 0.045), skirt))
    for x in (-w + 0.012, w - 0.012):
        plan.parts.append(Part("box", (0.012, d, 0.045), (x, 0, 0.045), skirt))
    return word


def _floor(kind: str, rng: np.random.Generator) -> tuple[str, Part]:
    share = {"kitchen": (0.3, 0.7, 0.0), "bedroom": (0.5, 0.05, 0.45)}.get(kind, (0.6, 0.1, 0.3))
    which = rng.choice(("wooden", "tiled", "carpet"), p=share)
    if which == "wooden":
        rgb, texture, word = PLANKS[int(rng.integers(5))], f"plank_{rng.integers(4)}", "wooden"
    elif which == "tiled":
        grey = float(rng.uniform(0.4, 0.9))
        rgb, texture, word = (grey, grey * 0.98, grey * 0.94), f"tile_{rng.integers(3)}", "tiled"
    else:
        word = str(rng.choice(list(CARPETS)))
        rgb, texture = CARPETS[word], f"carpet_{rng.integers(3)}"
    repeat = float(rng.uniform(0.7, 1.3))
    return word, Part(
        "box", (1, 1, 0.02), (0, 0, 0), _near(rgb, rng, 0.05), texture, repeat=(repeat, repeat)
    )


def _against_wall(plan: _Plan, piece: Piece, wall: int, rng: np.random.Generator) -> None:
    """Stand the piece at a free place along a wall, or leave it out."""
    w, d = plan.width / 2, plan.depth / 2
    along = w if wall < 2 else d
    for _ in range(12):
        room = along - piece.width / 2 - 0.03
        if room <= 0:
            return
        t = float(rng.uniform(-room, room))
        if wall >= 2:
            t = abs(t) * 0.9
        x, y = ((t, -d), (t, d - 0.03), (w - 0.03, t), (-w + 0.03, t))[wall]
        if _put(plan, piece, x, y, wall):
            return


def _put(plan: _Plan, piece: Piece, x: float, y: float, wall: int) -> bool:
    half, deep = piece.width / 2 + 0.02, piece.depth + 0.02
    box = (
        (x - half, y, x + half, y + deep),
        (x - half, y - deep, x + half, y),
        (x - deep, y - half, x, y + half),
        (x, y - half, x + deep, y + half),
    )[wall]
    if not plan.free(*box):
        return False
    plan.parts.extend(place(piece, x, y, _TURN_DEG[wall]))
    plan.blocked.append((*box, piece.height))
    return True


def _clutter(plan: _Plan, piece: Piece, rng: np.random.Generator) -> None:
    """A small thing somewhere on the floor, at any turn."""
    w, d = plan.width / 2 - 0.4, plan.depth / 2 - 0.4
    reach = (piece.width + piece.depth) / 2
    for _ in range(6):
        x, y = float(rng.uniform(-w, w)), float(rng.uniform(-d * 0.3, d))
        box = (x - reach, y - reach, x + reach, y + reach)
        if abs(x) > 0.5 and plan.free(*box):
            plan.parts.extend(place(piece, x, y, float(rng.uniform(0, 360))))
            plan.blocked.append((*box, piece.height))
            return


def _decorate(plan: _Plan, rng: np.random.Generator) -> None:
    """Pictures and a window on the far and the side walls."""
    d, w = plan.depth / 2, plan.width / 2
    front: Quat = (0.70710678, 0.70710678, 0.0, 0.0)
    for _ in range(int(rng.integers(0, 4))):
        a, b = float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.15, 0.32))
        x, z = float(rng.uniform(-w + 0.5, w - 0.5)), float(rng.uniform(1.15, 1.8))
        frame = any_colour(rng, 0.4)
        plan.parts.append(Part("box", (a + 0.03, 0.012, b + 0.03), (x, d - 0.012, z), frame))
        pos: Vec3 = (x, d - 0.03, z)
        canvas = f"picture_{rng.integers(12)}"
        repeat = (0.5 / a, 0.5 / b)
        plan.parts.append(Part("box", (a, b, 0.008), pos, (1, 1, 1), canvas, front, repeat=repeat))
    if rng.random() < 0.45:
        _window(plan, rng)


def _window(plan: _Plan, rng: np.random.Generator) -> None:
    side = float(rng.choice((-1.0, 1.0)))
    x, y = side * (plan.width / 2 - 0.01), float(rng.uniform(-0.3, 1.2))
    sky = (0.75, 0.88, 1.0) if rng.random() < 0.7 else (0.12, 0.14, 0.25)
    plan.parts.append(Part("box", (0.01, 0.55, 0.6), (x, y, 1.45), sky))
    for dy, dz, sy, sz in ((0, 0, 0.03, 0.6), (0, 0.6, 0.6, 0.03), (0, -0.6, 0.62, 0.04),
                           (0.57, 0, 0.03, 0.62), (-0.57, 0, 0.03, 0.62)):  # fmt: skip
        plan.parts.append(Part("box", (0.025, sy, sz), (x, y + dy, 1.45 + dz), (0.95, 0.95, 0.94)))


def _rug(plan: _Plan, rng: np.random.Generator) -> None:
    a, b = float(rng.uniform(0.6, 1.1)), float(rng.uniform(0.45, 0.8))
    pos = (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.6, 0.5)), 0.004)
    rgb = any_colour(rng)
    shape = "cylinder" if rng.random() < 0.3 else "box"
    size = (b, 0.004, 0.0) if shape == "cylinder" else (a, b, 0.004)
    texture = str(rng.choice(("fabric_2", "fabric_3", "fabric_4", "fabric_5", "carpet_1")))
    plan.parts.append(Part(shape, size, pos, rgb, texture))


def _near(rgb: RGB, rng: np.random.Generator, amount: float) -> RGB:
    r, g, b = (float(min(1.0, max(0.0, c + rng.uniform(-amount, amount)))) for c in rgb)
    return (r, g, b)


def free_spot(room: Room, rng: np.random.Generator) -> tuple[float, float] | None:
    """A place on the floor with 0.5 m around it free of furniture."""
    for _ in range(30):
        x = float(rng.uniform(-0.3, 0.3) * room.width_m)
        y = float(rng.uniform(-0.25, 0.25) * room.depth_m)
        if all(distance(x, y, box) > 0.5 for box in room.blocked):
            return x, y
    return None


def distance(x: float, y: float, box: tuple[float, float, float, float, float]) -> float:
    """From a place on the floor to a footprint, metres."""
    dx, dy = max(box[0] - x, 0.0, x - box[2]), max(box[1] - y, 0.0, y - box[3])
    return math.hypot(dx, dy)
