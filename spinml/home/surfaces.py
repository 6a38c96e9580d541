"""Places to put small things on: the floor and the upper faces of furniture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spinml.home.geometry import Floats, boxes_of, matrix_of, overlaps
from spinml.home.scenes import Part, Vec3

MIN_SIDE_M, MAX_HEIGHT_M = 0.16, 1.35
_FLOOR_SHARE = 0.2


@dataclass(frozen=True)
class Surface:
    """An upper face: its middle, half sides and turn."""

    middle: Vec3
    half: tuple[float, float]
    yaw_deg: float


def surfaces_of(parts: Sequence[Part]) -> list[Surface]:
    """Upper faces of the boxes that are wide and low enough; a room's first part is its floor."""
    found = []
    for part in parts:
        (a, b, c), (x, y, z) = part.size, part.pos
        turn = matrix_of(part.quat)
        level = part.shape == "box" and abs(turn[2, 2]) > 0.999
        if level and 2 * min(a, b) >= MIN_SIDE_M and z + c <= MAX_HEIGHT_M:
            yaw = math.degrees(math.atan2(turn[1, 0], turn[0, 0]))
            found.append(Surface((x, y, z + c), (a, b), yaw))
    return found


def free_place(
    parts: Sequence[Part],
    size: Vec3,
    rng: np.random.Generator,
    near: Vec3 | None = None,
    within_m: float = 0.3,
) -> Vec3 | None:
    """A place for a thing of ``size`` (width, depth, height), or ``None`` where none was found.

    Args:
        parts: everything in the room.
        size: the thing's box, metres; it stands free of all parts.
        near: a place on the surface to use, ``within_m`` of which the thing stands.
    """
    surfaces, boxes = surfaces_of(parts), boxes_of(parts)
    if near is not None:
        surfaces = [s for s in surfaces if abs(s.middle[2] - near[2]) < 1e-6]
    half = np.array((size[0] / 2, size[1] / 2, 0.0))
    for _ in range(80):
        spot = _spot(surfaces, max(size[:2]) / 2, rng, near, within_m)
        if spot is None:
            continue
        low, high = np.array(spot) - half + (0, 0, 0.004), np.array(spot) + half + (0, 0, size[2])
        if not overlaps(boxes, low, high).any():
            return spot
    return None


def _spot(
    surfaces: list[Surface],
    margin: float,
    rng: np.random.Generator,
    near: Vec3 | None,
    within_m: float,
) -> Vec3 | None:
    """A random place on a surface, ``margin`` from its rim; the floor is chosen rarely."""
    if not surfaces:
        return None
    on_floor = near is None and (rng.random() < _FLOOR_SHARE or len(surfaces) == 1)
    first = 1 if near is None and len(surfaces) > 1 else 0
    surface = surfaces[0 if on_floor else int(rng.integers(first, len(surfaces)))]
    turn = _turn(surface.yaw_deg)
    a, b = surface.half[0] - margin, surface.half[1] - margin
    if a <= 0 or b <= 0:
        return None
    if near is None:
        shift = turn @ np.array((rng.uniform(-a, a), rng.uniform(-b, b)))
        return (surface.middle[0] + float(shift[0]), surface.middle[1] + float(shift[1]),
                surface.middle[2])  # fmt: skip
    angle, reach = rng.uniform(0, 2 * math.pi), within_m * math.sqrt(rng.uniform(0.05, 1))
    x, y = near[0] + reach * math.cos(angle), near[1] + reach * math.sin(angle)
    local = turn.T @ np.array((x - surface.middle[0], y - surface.middle[1]))
    return (x, y, near[2]) if abs(local[0]) <= a and abs(local[1]) <= b else None


def _turn(degrees: float) -> Floats:
    """A turn in the plane, ``(2, 2)``."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s], [s, c]])
