"""Puts subjects into the MuJoCo model: poses the dog, moves and paints the other skins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinml.home.fur import FurPainter
from spinml.home.geometry import Floats
from spinml.home.model import FUR_PX, original_skin
from spinml.home.poses import DogPose
from spinml.home.scenes import Dog

_HIND = ("toe_", "foot_anchor_")
_FRONT = ("hand_", "finger_", "lower_arm_", "upper_arm_", "torso")
_MOUTH_AHEAD_M = 0.09
Upload = Callable[[int], None]


def write_texture(model: Any, name: str, pixels: NDArray[np.uint8], upload: Upload) -> None:
    """Give a texture new pixels, shape ``(h, w, 3)``."""
    texture = model.tex(name).id
    start = model.tex_adr[texture]
    model.tex_data[start : start + pixels.size] = pixels.reshape(-1)
    upload(texture)


class SkinRig:
    """A skin that hangs on the world: its vertices are places in the room."""

    def __init__(self, model: Any, name: str) -> None:
        self.model, self.name = model, name
        self.id = model.skin(name).id
        first = model.skin_vertadr[self.id]
        self._rows = slice(first, first + model.skin_vertnum[self.id])

    def move(self, vertices: Floats) -> None:
        """Set the vertices, shape ``(v, 3)``, metres."""
        self.model.skin_vert[self._rows] = vertices


class DogRig:
    """dm_control's dog: joints, fur, and how it comes to stand on the floor."""

    def __init__(self, mujoco: Any, model: Any, data: Any, upload: Upload) -> None:
        self._mj, self.model, self.data, self._upload = mujoco, model, data, upload
        self.id = model.skin("skin").id
        corners, faces = model.skin_vertnum[self.id], model.skin_facenum[self.id]
        self._painter = FurPainter(
            model.skin_vert[:corners], model.skin_texcoord[:corners], model.skin_face[:faces],
            original_skin(), FUR_PX,
        )  # fmt: skip
        self._solid = np.flatnonzero(model.geom_group == 3)
        bodies = [model.body(model.geom_bodyid[g]).name for g in self._solid]
        self._hind = np.array([b.startswith(_HIND) for b in bodies])
        self._front = np.array([b.startswith(_FRONT) for b in bodies])
        self._tail = np.array([b.startswith("Ca_") for b in bodies])
        self._head = np.array([b in ("skull", "jaw") or b.startswith("C_") for b in bodies])
        self._skull = model.body("skull").id

    def put(self, dog: Dog) -> Any:
        """Paint and pose the dog, put it on the floor; returns its mouth's ``(x, y)``."""
        write_texture(self.model, "skin", self._painter.paint(dog.fur), self._upload)
        return self._pose(dog.pose, dog.xy, dog.yaw_deg)

    def _pose(self, pose: DogPose, xy: tuple[float, float], yaw_deg: float) -> Any:
        model, data = self.model, self.data
        data.qpos[:] = model.qpos0
        for name, degrees in pose.joints:
            joint = model.joint(name)
            low, high = joint.range
            data.qpos[joint.qposadr[0]] = np.clip(np.deg2rad(degrees), low, high)
        pitch = pose.pitch_deg
        for _ in range(6 if pose.level else 1):
            self._set_root(0.0, 0.0, 1.0, yaw_deg, pitch, pose.roll_deg)
            pitch += self._level_error_deg() if pose.level else 0.0
        height = 1.0 - self.lowest_point_m() + pose.lift_m - 0.008
        self._set_root(xy[0], xy[1], height, yaw_deg, pitch, pose.roll_deg)
        skull = data.xpos[self._skull]
        ahead = data.xmat[self._skull].reshape(3, 3)[:, 0]
        return (skull + _MOUTH_AHEAD_M * ahead)[:2].copy()

    def _set_root(
        self, x: float, y: float, z: float, yaw: float, pitch: float, roll: float
    ) -> None:
        quat = np.zeros(4)
        self._mj.mju_euler2Quat(quat, np.deg2rad([yaw, pitch, roll]), "zyx")
        self.data.qpos[:3] = (x, y, z)
        self.data.qpos[3:7] = quat
        self._mj.mj_kinematics(self.model, self.data)

    def lowest_point_m(self) -> float:
        """Height of the lowest point of the dog that was drawn last, its tail aside."""
        return float(self._lowest()[~self._tail].min())

    def _lowest(self) -> Any:
        """Lowest height of each collision primitive, in metres."""
        model, data, solid = self.model, self.data, self._solid
        axis_z = data.geom_xmat[solid].reshape(-1, 3, 3)[:, 2, :]
        size, kind = model.geom_size[solid], model.geom_type[solid]
        geom = self._mj.mjtGeom
        reach = np.where(
            kind == geom.mjGEOM_SPHERE,
            size[:, 0],
            np.where(
                kind == geom.mjGEOM_CAPSULE,
                size[:, 0] + np.abs(axis_z[:, 2]) * size[:, 1],
                np.where(
                    kind == geom.mjGEOM_BOX,
                    (np.abs(axis_z) * size).sum(1),
                    np.sqrt(((axis_z * size) ** 2).sum(1)),
                ),
            ),
        )
        return data.geom_xpos[solid, 2] - reach

    def _level_error_deg(self) -> float:
        """How much further nose-down the dog must pitch for its fore limbs to touch the floor."""
        lowest, where = self._lowest(), self.data.geom_xpos[self._solid]
        rear = ~self._front & ~self._tail & ~self._head
        rear &= where[:, 2] < where[self._hind, 2].max() + 0.35
        front = np.flatnonzero(self._front)[np.argmin(lowest[self._front])]
        back = np.flatnonzero(rear)[np.argmin(lowest[rear])]
        rise = float(lowest[front] - lowest[back])
        run = float(np.linalg.norm(where[front, :2] - where[back, :2])) + 1e-3
        return float(np.rad2deg(np.arctan2(rise, run)))
