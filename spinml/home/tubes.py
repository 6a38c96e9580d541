"""Meshes of tubes: rings of points along an axis, closed by rings of radius 0.

A tube of ``k`` rings and ``m`` sides has ``k * (m + 1)`` vertices, for the first column is repeated
where the texture's two ends meet. The topology never changes; a scene moves the vertices alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rect = tuple[float, float, float, float]


@dataclass(frozen=True)
class TubeTopology:
    """Rings and sides of a tube, and its rectangle ``(u0, v0, u1, v1)`` of the texture."""

    rings: int
    sides: int
    rect: Rect


@dataclass(frozen=True)
class MeshTopology:
    """Several tubes in one mesh.

    Attributes:
        faces: vertex ids, shape ``(f, 3)``, outside counter-clockwise.
        texcoords: texture coordinates, shape ``(v, 2)``.
    """

    faces: NDArray[np.int32]
    texcoords: NDArray[np.float32]

    @classmethod
    def of(cls, tubes: Sequence[TubeTopology]) -> MeshTopology:
        """The tubes one after the other."""
        faces, texcoords, first = [], [], 0
        for tube in tubes:
            faces.append(first + _faces(tube))
            texcoords.append(_texcoords(tube))
            first += len(texcoords[-1])
        return cls(
            np.concatenate(faces).astype(np.int32), np.concatenate(texcoords).astype(np.float32)
        )


def _faces(tube: TubeTopology) -> NDArray[np.int64]:
    row, column = np.mgrid[: tube.rings - 1, : tube.sides]
    a = (row * (tube.sides + 1) + column).ravel()
    b, c = a + 1, a + tube.sides + 1
    d = c + 1
    return np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)])


def _texcoords(tube: TubeTopology) -> Floats:
    u0, v0, u1, v1 = tube.rect
    v, u = np.meshgrid(
        np.linspace(v0, v1, tube.rings), np.linspace(u0, u1, tube.sides + 1), indexing="ij"
    )
    return np.stack([u.ravel(), v.ravel()], 1)


def angles(sides: int) -> Floats:
    """Angles of a ring's columns, ``(sides + 1,)``: from behind over the right side, 0 ahead."""
    return np.linspace(-np.pi, np.pi, sides + 1)


def tube(centres: Floats, ahead: Floats, left: Floats, sides: int) -> Floats:
    """Vertices ``(k * (sides + 1), 3)``.

    Args:
        centres: shape ``(k, 3)``.
        ahead, left: the half axes of each ring's ellipse, shape ``(k, 3)``.
        sides: columns of a ring.
    """
    a = angles(sides)[None, :, None]
    rings = centres[:, None] + np.cos(a) * ahead[:, None] + np.sin(a) * left[:, None]
    return np.asarray(rings.reshape(-1, 3))


def along(corners: Sequence[Floats], shares: Sequence[float], bend: float = 0.06) -> Floats:
    """Points at ``shares`` (0..1 of each leg, counted on: 1.5 is half of the second leg).

    Corners are rounded over ``bend`` of a leg, as cloth and flesh do, shape ``(k, 3)``.
    """
    points = np.asarray(corners, float)

    def at(t: float) -> Floats:
        leg = min(int(t), len(points) - 2)
        return np.asarray(points[leg] + (t - leg) * (points[leg + 1] - points[leg]))

    last = len(points) - 1
    smooth = []
    for share in shares:
        room = min(bend, share, last - share)
        smooth.append((at(share - room) + 2 * at(share) + at(share + room)) / 4)
    return np.asarray(smooth)


def limb(
    corners: Sequence[Floats],
    shares: Sequence[float],
    across: Sequence[float],
    deep: Sequence[float],
    front: Floats,
    sides: int,
) -> Floats:
    """A tube along bent bones: half widths ``across``, half depths ``deep`` to ``front``."""
    centres = along(corners, shares)
    tangent = np.gradient(centres, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    left = np.cross(tangent, front)
    left /= np.linalg.norm(left, axis=1, keepdims=True) + 1e-9
    ahead = np.cross(left, tangent) * np.asarray(deep)[:, None]
    return tube(centres, ahead, left * np.asarray(across)[:, None], sides)
