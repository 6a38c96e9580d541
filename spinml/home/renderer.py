"""Renders a :class:`~spinml.home.scenes.Scene` with MuJoCo, in software, without a display."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinml.home.dogmodel import (
    DOG_GROUP,
    FUR_PX,
    LIGHTS,
    POOL,
    ROOM_GROUP,
    build_model,
    ids,
    original_skin,
)
from spinml.home.fur import FurPainter
from spinml.home.poses import DogPose
from spinml.home.scenes import Camera, Fur, Part, Scene

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_HIND = ("toe_", "foot_anchor_")
_FRONT = ("hand_", "finger_", "lower_arm_", "upper_arm_", "torso")
_MOUTH_AHEAD_M = 0.09


@dataclass(frozen=True)
class Frame:
    """One picture.

    Attributes:
        image: RGB, shape ``(h, w, 3)``.
        mask: where the dog is seen, shape ``(h, w)``; bowl and ball do not count.
        empty: the same room without dog, bowl and ball, shape ``(h, w, 3)``; ``None`` if not asked.
    """

    image: Image
    mask: Mask
    empty: Image | None


class Renderer:
    """Draws scenes at ``size_px`` × ``size_px``; one per process, closed by :meth:`close`."""

    def __init__(self, size_px: int, supersample: int = 1) -> None:
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("LP_NUM_THREADS", "1")
        import mujoco

        self._mj = mujoco
        self.size_px, self.supersample = size_px, supersample
        side = size_px * supersample
        self.model = build_model(side)
        self.data = mujoco.MjData(self.model)
        self._gl = mujoco.GLContext(side, side)
        self._gl.make_current()
        self._context = mujoco.MjrContext(self.model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(self.model, maxgeom=POOL + 200)
        self._view = mujoco.MjrRect(0, 0, side, side)
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = self.model.camera("view").id
        self._pool = ids(self.model, "room_", "geom")
        self._lights = ids(self.model, "light_", "light")
        self._fixed_materials()
        self._find_dog()

    def close(self) -> None:
        """Give the GL context back."""
        self._gl.free()

    def render(self, scene: Scene, *, empty: bool = False) -> Frame:
        """The picture of ``scene``, its dog mask and, if asked, the empty room."""
        self._paint(scene.fur)
        mouth = self._pose_dog(scene.pose, scene.dog_xy, scene.yaw_deg)
        self._furnish((*scene.room.parts, *_anchored(scene.things, mouth)))
        self._light(scene)
        self._aim(scene.camera)
        self._mj.mj_kinematics(self.model, self.data)
        self._mj.mj_camlight(self.model, self.data)
        image = self._draw(dog=True)
        mask = self._draw_mask()
        bare = None
        if empty:
            self._furnish(scene.room.parts)
            self._mj.mj_kinematics(self.model, self.data)
            bare = self._draw(dog=False)
        return Frame(image, mask, bare)

    # -- the dog ---------------------------------------------------------------------------------

    def _fixed_materials(self) -> None:
        model = self.model
        self._materials = {model.mat(i).name: i for i in range(model.nmat)}
        skin = self._materials["skin"]
        model.mat_specular[skin], model.mat_shininess[skin] = 0.05, 0.1
        model.geom_sameframe[self._pool] = 0

    def _find_dog(self) -> None:
        model = self.model
        self._skin_texture = model.tex("skin").id
        vertices = model.skin_vert
        self._painter = FurPainter(
            vertices, model.skin_texcoord, model.skin_face, original_skin(), FUR_PX
        )
        self._solid = np.flatnonzero(model.geom_group == 3)
        bodies = [model.body(model.geom_bodyid[g]).name for g in self._solid]
        self._hind = np.array([b.startswith(_HIND) for b in bodies])
        self._front = np.array([b.startswith(_FRONT) for b in bodies])
        self._tail = np.array([b.startswith("Ca_") for b in bodies])
        self._head = np.array([b in ("skull", "jaw") or b.startswith("C_") for b in bodies])
        self._skull = model.body("skull").id

    def _paint(self, fur: Fur) -> None:
        model, texture = self.model, self._skin_texture
        pixels = self._painter.paint(fur)
        start = model.tex_adr[texture]
        model.tex_data[start : start + pixels.size] = pixels.reshape(-1)
        self._mj.mjr_uploadTexture(model, self._context, texture)

    def _pose_dog(self, pose: DogPose, xy: tuple[float, float], yaw_deg: float) -> Any:
        """Put the dog on the floor; returns where its mouth is, ``(x, y)``."""
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

    # -- the room --------------------------------------------------------------------------------

    def _furnish(self, parts: tuple[Part, ...]) -> None:
        model, geom = self.model, self._mj.mjtGeom
        if len(parts) > POOL:
            raise ValueError(f"a scene has {len(parts)} parts; the model has room for {POOL}")
        kinds = {
            "box": geom.mjGEOM_BOX, "cylinder": geom.mjGEOM_CYLINDER, "plane": geom.mjGEOM_PLANE,
            "ellipsoid": geom.mjGEOM_ELLIPSOID, "sphere": geom.mjGEOM_SPHERE,
            "capsule": geom.mjGEOM_CAPSULE,
        }  # fmt: skip
        for slot, part in zip(self._pool, parts, strict=False):
            material = self._materials[part.texture]
            model.geom_type[slot] = kinds[part.shape]
            model.geom_size[slot] = part.size
            model.geom_pos[slot] = part.pos
            model.geom_quat[slot] = part.quat
            model.geom_rgba[slot] = (*part.rgb, 1.0)
            model.geom_matid[slot] = material
            model.mat_texrepeat[material] = part.repeat
        model.geom_rgba[self._pool[len(parts) :], 3] = 0

    def _light(self, scene: Scene) -> None:
        model = self.model
        model.vis.headlight.ambient[:] = scene.ambient
        model.vis.headlight.diffuse[:] = 0.10 * np.array(scene.ambient)
        model.vis.headlight.specular[:] = 0
        for k in range(LIGHTS):
            slot = self._lights[k]
            model.light_active[slot] = k < len(scene.lights)
            if k >= len(scene.lights):
                continue
            light = scene.lights[k]
            aim = np.subtract(light.look_at, light.pos)
            model.light_pos[slot] = light.pos
            model.light_dir[slot] = aim / np.linalg.norm(aim)
            model.light_diffuse[slot] = light.diffuse
            model.light_ambient[slot] = 0
            model.light_specular[slot] = np.multiply(light.diffuse, 0.2)
            model.light_castshadow[slot] = light.shadow
            model.light_cutoff[slot] = light.cutoff_deg
            model.light_exponent[slot] = light.exponent

    def _aim(self, camera: Camera) -> None:
        forward = np.subtract(camera.look_at, camera.pos)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        rotation = np.column_stack([right, np.cross(right, forward), -forward])
        quat = np.zeros(4)
        self._mj.mju_mat2Quat(quat, rotation.reshape(-1))
        slot = self._camera.fixedcamid
        self.model.cam_pos[slot], self.model.cam_quat[slot] = camera.pos, quat
        self.model.cam_fovy[slot] = camera.fov_deg

    # -- pixels ----------------------------------------------------------------------------------

    def _draw(self, *, dog: bool) -> Image:
        mj, option = self._mj, self._mj.MjvOption()
        option.geomgroup[:] = 0
        option.geomgroup[ROOM_GROUP], option.geomgroup[DOG_GROUP] = 1, int(dog)
        option.flags[mj.mjtVisFlag.mjVIS_SKIN] = dog
        everything = mj.mjtCatBit.mjCAT_ALL
        mj.mjv_updateScene(
            self.model, self.data, option, None, self._camera, everything, self._scene
        )
        self._scene.flags[mj.mjtRndFlag.mjRND_SHADOW] = 1
        self._scene.flags[mj.mjtRndFlag.mjRND_SKYBOX] = 0
        self._scene.flags[mj.mjtRndFlag.mjRND_HAZE] = 0
        self._scene.flags[mj.mjtRndFlag.mjRND_REFLECTION] = 0
        return self._shrink(self._read())

    def _read(self) -> Image:
        self._mj.mjr_render(self._view, self._scene, self._context)
        pixels = np.empty((self._view.height, self._view.width, 3), np.uint8)
        self._mj.mjr_readPixels(pixels, None, self._view, self._context)
        return pixels[::-1]

    def _shrink(self, pixels: Image) -> Image:
        n, k = self.size_px, self.supersample
        if k == 1:
            return np.ascontiguousarray(pixels)
        mean = pixels.reshape(n, k, n, k, 3).mean(axis=(1, 3))
        return np.asarray(mean.round(), np.uint8)

    def _draw_mask(self) -> Mask:
        """The dog's mask, of the scene that was drawn last."""
        mj, flags = self._mj, self._scene.flags
        flags[mj.mjtRndFlag.mjRND_SEGMENT] = flags[mj.mjtRndFlag.mjRND_IDCOLOR] = 1
        flags[mj.mjtRndFlag.mjRND_SHADOW] = 0
        code = self._read().astype(np.int32)
        flags[mj.mjtRndFlag.mjRND_SEGMENT] = flags[mj.mjtRndFlag.mjRND_IDCOLOR] = 0
        segment = code[..., 0] + (code[..., 1] << 8) + (code[..., 2] << 16) - 1
        pool = set(self._pool)
        dog = np.zeros(self._scene.ngeom + 2, bool)
        for i in range(self._scene.ngeom):
            geom = self._scene.geoms[i]
            room = geom.objtype == mj.mjtObj.mjOBJ_GEOM and geom.objid in pool
            dog[geom.segid] = geom.segid >= 0 and not room
        seen = dog[segment.clip(-1)] & (segment >= 0)
        n, k = self.size_px, self.supersample
        share = seen.reshape(n, k, n, k).mean(axis=(1, 3))
        return np.asarray(share >= 0.5, np.bool_)


def _anchored(things: tuple[Part, ...], mouth: Any) -> tuple[Part, ...]:
    """Things whose place is given from the mouth, moved into the room's frame."""

    return tuple(
        replace(t, pos=(t.pos[0] + float(mouth[0]), t.pos[1] + float(mouth[1]), t.pos[2]))
        if t.at_mouth
        else t
        for t in things
    )


@lru_cache(maxsize=2)
def shared_renderer(size_px: int, supersample: int = 1) -> Renderer:
    """This process's renderer of that size, made once."""
    renderer = Renderer(size_px, supersample)
    atexit.register(renderer.close)
    return renderer
