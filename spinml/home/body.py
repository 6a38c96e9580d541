"""The person's skin: tubes laid along a posture's bones, in one mesh of fixed topology.

Trunk, head, hair, and for each side an arm with its hand, a leg, a shoe; :data:`RECTS` says where
each lies in the texture (left and right share theirs).
"""

from __future__ import annotations

import numpy as np

from spinml.home.geometry import Floats, unit
from spinml.home.postures import SIDES
from spinml.home.scenes import Outfit, Person
from spinml.home.tubes import MeshTopology, Rect, TubeTopology, angles, limb, tube

RECTS: dict[str, Rect] = {
    "trunk": (0.0, 0.0, 0.5, 0.5), "head": (0.5, 0.0, 1.0, 0.5), "hair": (0.0, 0.5, 0.25, 0.75),
    "arm": (0.25, 0.5, 0.5, 1.0), "leg": (0.5, 0.5, 0.75, 1.0), "shoe": (0.75, 0.5, 1.0, 0.75),
}  # fmt: skip

_TRUNK = np.array(
    [  # share (0 pelvis, 1 chest, 2 collar, 3 neck, 4 head), half width, half depth, shift ahead
        (-0.42, 0.02, 0.02, 0.0), (-0.36, 0.12, 0.1, 0.0), (-0.12, 0.165, 0.125, 0.0),
        (0.15, 0.168, 0.13, 0.004), (0.5, 0.158, 0.125, 0.018), (0.85, 0.16, 0.122, 0.02),
        (1.2, 0.172, 0.122, 0.018), (1.55, 0.184, 0.115, 0.01), (1.8, 0.19, 0.1, 0.0),
        (1.98, 0.178, 0.082, -0.006), (2.25, 0.11, 0.066, -0.004), (2.6, 0.066, 0.06, 0.0),
        (3.0, 0.052, 0.055, 0.0), (3.5, 0.05, 0.054, 0.0), (3.7, 0.02, 0.02, 0.0),
    ]
)  # fmt: skip
_HEAD = np.array(
    [  # height, half width, half depth, shift ahead; the usual head, metres
        (-0.122, 0.002, 0.002, 0.03), (-0.118, 0.026, 0.032, 0.034), (-0.1, 0.046, 0.062, 0.026),
        (-0.07, 0.061, 0.082, 0.014), (-0.04, 0.068, 0.09, 0.007), (-0.012, 0.072, 0.094, 0.003),
        (0.015, 0.075, 0.096, 0.0), (0.045, 0.075, 0.096, -0.003), (0.072, 0.069, 0.088, -0.006),
        (0.095, 0.056, 0.07, -0.008), (0.11, 0.036, 0.045, -0.008), (0.117, 0.002, 0.002, -0.008),
    ]
)  # fmt: skip
_ARM = np.array(
    [  # share (1 elbow, 2 wrist, 3 finger tips), half width, half depth
        (-0.16, 0.01, 0.01), (-0.1, 0.04, 0.042), (0.08, 0.058, 0.06), (0.4, 0.053, 0.054),
        (0.8, 0.045, 0.046), (1.0, 0.045, 0.046), (1.2, 0.044, 0.044), (1.6, 0.038, 0.038),
        (1.88, 0.033, 0.034), (1.95, 0.027, 0.03), (2.15, 0.03, 0.04), (2.4, 0.028, 0.046),
        (2.65, 0.025, 0.042), (2.9, 0.02, 0.03), (3.0, 0.004, 0.004),
    ]
)  # fmt: skip
_LEG = np.array(
    [  # share (1 knee, 2 ankle), half width, half depth
        (-0.25, 0.01, 0.01), (-0.15, 0.075, 0.08), (0.1, 0.097, 0.104), (0.5, 0.085, 0.09),
        (0.85, 0.07, 0.074), (1.0, 0.068, 0.072), (1.2, 0.064, 0.07), (1.5, 0.06, 0.066),
        (1.9, 0.057, 0.06), (1.97, 0.06, 0.062), (1.98, 0.035, 0.035), (2.0, 0.01, 0.01),
    ]
)  # fmt: skip
_SHOE = np.array(
    [  # share from ankle to toe, half width, half height, drop below the line
        (-0.36, 0.004, 0.004, 0.02), (-0.3, 0.03, 0.036, 0.018), (-0.1, 0.039, 0.05, 0.012),
        (0.2, 0.042, 0.05, 0.008), (0.5, 0.046, 0.042, 0.004), (0.8, 0.046, 0.034, 0.0),
        (1.05, 0.036, 0.026, -0.004), (1.15, 0.004, 0.004, -0.006),
    ]
)  # fmt: skip
_SIDES_OF = {"trunk": 24, "head": 24, "hair": 24, "arm": 12, "leg": 14, "shoe": 12}
_HAIR_RINGS = 12
_NECK_UP_M = 0.03


def body_topology() -> MeshTopology:
    """Faces and texture coordinates of :func:`body_vertices`."""
    rings = {"trunk": len(_TRUNK), "head": len(_HEAD), "hair": _HAIR_RINGS}
    limbs = {"arm": len(_ARM), "leg": len(_LEG), "shoe": len(_SHOE)}
    parts = [*rings.items(), *limbs.items(), *limbs.items()]
    return MeshTopology.of([TubeTopology(k, _SIDES_OF[n], RECTS[n]) for n, k in parts])


def body_vertices(person: Person) -> Floats:
    """Vertices in the person's own frame, shape ``(v, 3)``, metres."""
    posture, outfit = person.posture, person.outfit
    at = {name: np.array(place) for name, place in posture.points}
    scale = _scale(at)
    head = np.column_stack([posture.head_ahead, _head_left(person), posture.head_up])
    tubes = [_trunk(at, outfit.girth * scale), _head(at["head"], head, scale),
             _hair(at["head"], head, scale, outfit)]  # fmt: skip
    for side, _ in SIDES:
        tubes += [_arm(at, side, outfit.girth * scale), _leg(at, side, outfit.girth * scale),
                  _shoe(at, side, scale)]  # fmt: skip
    return np.concatenate(tubes)


def _scale(at: dict[str, Floats]) -> float:
    """Size over the usual one, from the breadth of the shoulders."""
    return float(np.linalg.norm(at["l_shoulder"] - at["r_shoulder"])) / 0.37


def _head_left(person: Person) -> Floats:
    return np.cross(person.posture.head_up, person.posture.head_ahead)


def _trunk(at: dict[str, Floats], girth: float) -> Floats:
    """Hips, belly, chest, shoulders and neck."""
    spine = np.array([at[name] for name in ("pelvis", "chest", "collar", "neck", "head")])
    share = _TRUNK[:, 0]
    centres = np.stack([np.interp(share, range(5), spine[:, k]) for k in range(3)], 1)
    below = share < 0  # the crotch hangs on along the lowest bone
    centres[below] += share[below, None] * (spine[1] - spine[0])
    up = np.gradient(centres, axis=0)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    twist = at["l_shoulder"] - at["r_shoulder"]
    turned = np.clip(share / 2, 0, 1)[:, None]
    left = np.array((0.0, 1.0, 0.0)) * (1 - turned) + unit(twist) * turned
    ahead = np.cross(left, up)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    width, depth, shift = (_TRUNK[:, k : k + 1] * girth for k in (1, 2, 3))
    return tube(centres + shift * ahead, depth * ahead, width * left, _SIDES_OF["trunk"])


def _head(centre: Floats, turn: Floats, scale: float) -> Floats:
    """A head with a nose and ears."""
    sides = _SIDES_OF["head"]
    local = _skull(_HEAD, sides).reshape(len(_HEAD), sides + 1, 3)
    middle = sides // 2
    for ring, out in ((3, 0.006), (4, 0.026), (5, 0.016), (6, 0.006)):
        local[ring, middle, 0] += out  # nose
    for ring, out in ((4, 0.008), (5, 0.016), (6, 0.018)):
        for column in (middle - 7, middle + 7):
            local[ring, column, 1] *= 1 + out / 0.07  # ears, a little behind the middle
    return np.asarray(centre + scale * local.reshape(-1, 3) @ turn.T)


def _skull(profile: Floats, sides: int) -> Floats:
    zeros = np.zeros(len(profile))
    centres = np.stack([profile[:, 3], zeros, profile[:, 0]], 1)
    ahead = np.stack([profile[:, 2], zeros, zeros], 1)
    left = np.stack([zeros, profile[:, 1], zeros], 1)
    return tube(centres, ahead, left, sides)


def _hair(centre: Floats, turn: Floats, scale: float, outfit: Outfit) -> Floats:
    """A cap over the skull that dives below the skin where there is no hair."""
    sides, long = _SIDES_OF["hair"], outfit.hair_style == "long"
    bottom, thick = (-0.13, 0.026) if long else (-0.085, 0.013)
    heights = np.linspace(bottom, 0.112 + thick, _HAIR_RINGS)
    inner = np.clip(heights - thick * np.clip(heights / 0.1, 0, 1), -0.1, 0.1165)
    columns = [np.interp(inner, _HEAD[:, 0], _HEAD[:, k]) for k in (1, 2, 3)]
    profile = np.stack([heights, columns[0] + thick, columns[1] + thick, columns[2]], 1)
    profile[-1, 1:3] = 0.004
    local = _skull(profile, sides).reshape(_HAIR_RINGS, sides + 1, 3)
    turned = np.abs(angles(sides))[None]
    z = heights[:, None]
    corners, hairline = (0, 0.8, 1.25, 1.6, 1.9, np.pi), (0.068, 0.062, 0.03, -0.01, -0.2, -0.2)
    if long:
        corners, hairline = (0, 0.8, 1.1, 1.2, 1.4, np.pi), (0.06, 0.05, 0.0, -0.02, -0.2, -0.2)
    bare = z < np.interp(turned, corners, hairline)
    if outfit.hair_style == "bald":
        bare = bare | (z > 0.05) | (turned < 1.4)
    local[np.broadcast_to(bare, local.shape[:2])] *= (0.6, 0.6, 0.9)
    return np.asarray(centre + scale * local.reshape(-1, 3) @ turn.T)


def _arm(at: dict[str, Floats], side: str, girth: float) -> Floats:
    corners = [at[f"{side}_{name}"] for name in ("shoulder", "elbow", "wrist", "finger")]
    shares = _ARM[:, 0]
    front = unit(np.array((1.0, 0.0, 0.4)))
    return _limb(corners, shares, _ARM * girth, front, "arm")


def _leg(at: dict[str, Floats], side: str, girth: float) -> Floats:
    corners = [at[f"{side}_{name}"] for name in ("hip", "knee", "ankle")]
    return _limb(corners, _LEG[:, 0], _LEG * girth, unit(np.array((1.0, 0.0, 0.5))), "leg")


def _limb(
    corners: list[Floats], shares: Floats, profile: Floats, front: Floats, name: str
) -> Floats:
    """A limb that starts a little before its first joint."""
    start = corners[0] - (corners[1] - corners[0])
    return limb([start, *corners], list(shares + 1), list(profile[:, 1]), list(profile[:, 2]),
                front, _SIDES_OF[name])  # fmt: skip


def _shoe(at: dict[str, Floats], side: str, scale: float) -> Floats:
    ankle, toe = at[f"{side}_ankle"], at[f"{side}_toe"]
    line = toe - ankle
    heel = ankle - np.array((0, 0, 0.02 * scale))
    ahead = unit(line)
    right = unit(np.cross(ahead, (0.0, 0.0, 1.0)))
    up = np.cross(right, ahead)
    centres = heel + _SHOE[:, :1] * (toe - heel) - _SHOE[:, 3:] * scale * up
    return tube(
        centres, _SHOE[:, 2:3] * scale * up, _SHOE[:, 1:2] * scale * right, _SIDES_OF["shoe"]
    )
