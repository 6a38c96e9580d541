"""A person's 2-D keypoints: the 18 of OpenPose's COCO model, in its order.

A keypoint is ``(x, y, visibility)``: pixels from the picture's upper left corner, and 2 where it is
seen, 1 where something (or the person itself) hides it, 0 where it lies outside the picture.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from spinml.home.geometry import Floats, unit, yaw_matrix
from spinml.home.scenes import Camera, Person

KEYPOINTS = (
    "nose", "neck", "r_shoulder", "r_elbow", "r_wrist", "l_shoulder", "l_elbow", "l_wrist",
    "r_hip", "r_knee", "r_ankle", "l_hip", "l_knee", "l_ankle", "r_eye", "l_eye", "r_ear", "l_ear",
)  # fmt: skip
SEEN, HIDDEN, OUTSIDE = 2, 1, 0
_ON_HEAD = {
    "nose": (0.112, 0.0, -0.034), "r_eye": (0.086, -0.032, 0.012), "l_eye": (0.086, 0.032, 0.012),
    "r_ear": (-0.012, -0.08, 0.0), "l_ear": (-0.012, 0.08, 0.0),
}  # fmt: skip
_DEEP_M = {
    "neck": 0.11, "shoulder": 0.11, "elbow": 0.08, "wrist": 0.06, "hip": 0.17, "knee": 0.11,
    "ankle": 0.09, "nose": 0.03, "eye": 0.03, "ear": 0.06,
}  # fmt: skip
"""How far below the skin (or the cloth) a keypoint may lie and still count as seen, metres."""


def places(person: Person) -> Floats:
    """Where the keypoints are in the room, shape ``(18, 3)``, metres."""
    at = {name: np.array(place) for name, place in person.posture.points}
    ahead, up = np.array(person.posture.head_ahead), np.array(person.posture.head_up)
    head = np.column_stack([ahead, np.cross(up, ahead), up])
    for name, local in _ON_HEAD.items():
        at[name] = at["head"] + head @ np.array(local)
    own = np.stack([at[name] for name in KEYPOINTS])
    return np.asarray(own @ yaw_matrix(person.yaw_deg).T + (*person.xy, 0.0))


def project(camera: Camera, points: Floats, side_px: int) -> tuple[Floats, Floats]:
    """Pixels ``(n, 2)`` and distances along the view ``(n,)`` of points ``(n, 3)``."""
    forward = unit(np.subtract(camera.look_at, camera.pos))
    right = unit(np.cross(forward, (0.0, 0.0, 1.0)))
    down = np.cross(forward, right)
    rays = points - np.array(camera.pos)
    depth = rays @ forward
    focal = side_px / 2 / math.tan(math.radians(camera.fov_deg) / 2)
    safe = np.maximum(depth, 1e-6)
    pixels = np.stack([rays @ right, rays @ down], 1) / safe[:, None] * focal + side_px / 2
    return np.asarray(pixels), np.asarray(depth)


def keypoints_in(
    camera: Camera, person: Person, depth: NDArray[np.float32], mask: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The keypoints of a picture, shape ``(18, 3)``.

    Args:
        camera: what took the picture.
        person: whose keypoints.
        depth: distance along the view of what each pixel shows, shape ``(n, n)``, metres.
        mask: where the person is seen, shape ``(n, n)``.
    """
    side = depth.shape[0]
    pixels, distance = project(camera, places(person), side)
    found = np.empty((len(KEYPOINTS), 3), np.float32)
    for k, name in enumerate(KEYPOINTS):
        column, row = (math.floor(v) for v in pixels[k])
        inside = distance[k] > 0 and 0 <= column < side and 0 <= row < side
        seen = (
            inside
            and mask[row, column]
            and (depth[row, column] > distance[k] - _DEEP_M[name.split("_")[-1]])
        )
        found[k] = (*pixels[k], SEEN if seen else HIDDEN if inside else OUTSIDE)
    return found
