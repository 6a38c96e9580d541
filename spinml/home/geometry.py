"""Small vector geometry: frames, turns, two-bone limbs, boxes around parts, lines of sight.

Boxes are axis-aligned, an array ``(n, 6)`` of ``x0, y0, z0, x1, y1, z1`` in metres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spinml.home.scenes import Part, Quat, Vec3

Floats = NDArray[np.float64]
UP: Vec3 = (0.0, 0.0, 1.0)


def vec3(values: ArrayLike) -> Vec3:
    """Three floats of an array."""
    x, y, z = (float(v) for v in np.asarray(values))
    return (x, y, z)


def unit(values: ArrayLike) -> Floats:
    """The vector ``(3,)`` at length 1."""
    vector = np.asarray(values, float)
    return np.asarray(vector / np.linalg.norm(vector))


def frame(forward: ArrayLike, up: ArrayLike = UP) -> Floats:
    """A rotation ``(3, 3)`` whose columns are forward, left and (nearly) ``up``."""
    ahead = unit(forward)
    left = unit(np.cross(np.asarray(up, float), ahead))
    return np.column_stack([ahead, left, np.cross(ahead, left)])


def yaw_matrix(degrees: float) -> Floats:
    """A turn about the vertical axis, ``(3, 3)``."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def pitch_matrix(degrees: float) -> Floats:
    """A turn about the left axis that lowers what points forward, ``(3, 3)``."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def quat_of(matrix: Floats) -> Quat:
    """The quaternion of a rotation ``(3, 3)``."""
    m = matrix
    signs = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    squares = 1 + signs @ np.diag(m)
    k = int(np.argmax(squares))
    rows = (
        (squares[0], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]),
        (m[2, 1] - m[1, 2], squares[1], m[1, 0] + m[0, 1], m[0, 2] + m[2, 0]),
        (m[0, 2] - m[2, 0], m[1, 0] + m[0, 1], squares[2], m[2, 1] + m[1, 2]),
        (m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[2, 1] + m[1, 2], squares[3]),
    )
    raw = np.array(rows[k], float)
    w, x, y, z = (float(v) for v in raw / np.linalg.norm(raw))
    return (w, x, y, z)


def matrix_of(quat: Quat) -> Floats:
    """The rotation ``(3, 3)`` of a quaternion."""
    w, x, y, z = quat
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def moved(parts: Sequence[Part], turn: Floats, shift: ArrayLike) -> tuple[Part, ...]:
    """Parts turned by ``(3, 3)``, then shifted by ``(3,)``."""
    return tuple(
        replace(
            part,
            pos=vec3(turn @ np.array(part.pos) + np.asarray(shift)),
            quat=quat_of(turn @ matrix_of(part.quat)),
        )
        for part in parts
    )


def two_bones(
    root: Floats, goal: Floats, upper_m: float, lower_m: float, pole: ArrayLike
) -> tuple[Floats, Floats]:
    """Where a limb bends and ends, ``(3,)`` each, when it reaches from ``root`` for ``goal``.

    The joint bends towards ``pole``; a goal out of reach is reached for with a stretched limb.
    """
    line = goal - root
    reach = float(np.clip(np.linalg.norm(line), abs(upper_m - lower_m) + 1e-3,
                          0.998 * (upper_m + lower_m)))  # fmt: skip
    axis = unit(line)
    along = (upper_m**2 - lower_m**2 + reach**2) / (2 * reach)
    aside = math.sqrt(max(upper_m**2 - along**2, 0.0))
    side = np.asarray(pole, float) - axis * float(np.dot(pole, axis))
    return root + axis * along + unit(side) * aside, root + axis * reach


def _half_sides(part: Part) -> Vec3:
    """Half sides of the part's box in its own frame."""
    a, b, c = part.size
    if part.shape in ("cylinder", "capsule"):
        return (a, a, b + (a if part.shape == "capsule" else 0.0))
    return (a, a, a) if part.shape == "sphere" else (a, b, 0.0 if part.shape == "plane" else c)


def boxes_of(parts: Sequence[Part]) -> Floats:
    """Boxes around parts, ``(n, 6)``."""
    boxes = np.empty((len(parts), 6))
    for row, part in zip(boxes, parts, strict=True):
        half = np.abs(matrix_of(part.quat)) @ np.array(_half_sides(part))
        row[:3], row[3:] = np.subtract(part.pos, half), np.add(part.pos, half)
    return boxes


def overlaps(boxes: Floats, low: ArrayLike, high: ArrayLike) -> NDArray[np.bool_]:
    """Which boxes share space with the box from ``low`` to ``high``, ``(n,)``."""
    apart = (boxes[:, 3:] <= np.asarray(low)) | (boxes[:, :3] >= np.asarray(high))
    return np.asarray(~apart.any(axis=1), np.bool_)


def in_sight(boxes: Floats, eye: ArrayLike, goal: ArrayLike, clear_m: float) -> bool:
    """Whether no box is on the way from ``eye`` to ``clear_m`` before ``goal``."""
    start, end = np.asarray(eye, float), np.asarray(goal, float)
    length = float(np.linalg.norm(end - start))
    share = max(0.0, 1 - clear_m / length)
    step = np.where(np.abs(end - start) < 1e-9, 1e-9, end - start)
    enter, leave = (boxes[:, :3] - start) / step, (boxes[:, 3:] - start) / step
    first = np.minimum(enter, leave).max(axis=1)
    last = np.maximum(enter, leave).min(axis=1)
    return not bool(((first <= last) & (last >= 0) & (first <= share)).any())
