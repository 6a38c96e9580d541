"""Renders a :class:`~spinml.home.scenes.Scene` with MuJoCo, in software, without a display."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinml.home.body import body_vertices
from spinml.home.bottle import bottle_vertices, paint_bottle
from spinml.home.geometry import moved, yaw_matrix
from spinml.home.keypoints import keypoints_in
from spinml.home.model import DOG_GROUP, LIGHTS, POOL, ROOM_GROUP, SKIN_GROUPS, build_model, ids
from spinml.home.outfits import paint_outfit
from spinml.home.rigs import DogRig, SkinRig, write_texture
from spinml.home.scenes import Bottle, Camera, Dog, Part, Person, PhotoFrame, Scene, Subject

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Frame:
    """One picture.

    Attributes:
        image: RGB, shape ``(h, w, 3)``.
        masks: for each subject, by name and the target object first, where it is seen, ``(h, w)``;
            what a person holds counts, a dog's bowl or a person's plate does not.
        empty: the same room without subjects and things, ``(h, w, 3)``; ``None`` if not asked.
        keypoints: the person's, shape ``(18, 3)``, see :mod:`spinml.home.keypoints`; ``None``
            where the scene has no person.
    """

    image: Image
    masks: dict[str, Mask]
    empty: Image | None
    keypoints: NDArray[np.float32] | None = None

    @property
    def mask(self) -> Mask:
        """The target object's mask."""
        return next(iter(self.masks.values()))


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
        self._dog = DogRig(mujoco, self.model, self.data, self._upload)
        self._skins = {name: SkinRig(self.model, name) for name in ("person", "bottle")}
        self._skin_owner = {self._dog.id: "dog"} | {r.id: n for n, r in self._skins.items()}
        self._slots = {geom: slot for slot, geom in enumerate(self._pool)}

    def _upload(self, texture: int) -> None:
        self._mj.mjr_uploadTexture(self.model, self._context, texture)

    def close(self) -> None:
        """Give the GL context back, first what MuJoCo holds in it.

        Freed later, by the garbage collector, it would take the next renderer's buffers with it.
        """
        self._gl.make_current()
        self._context.free()
        self._gl.free()

    def render(self, scene: Scene, *, empty: bool = False) -> Frame:
        """The picture of ``scene``, its subjects' masks and, if asked, the empty room."""
        things = scene.things
        parts = [*scene.room.parts]
        owned: dict[str, range] = {}
        for subject in scene.subjects:
            if isinstance(subject, Dog):
                things = _anchored(things, self._dog.put(subject))
        parts += things
        for subject in scene.subjects:
            own = self._put(subject)
            owned[subject.name] = range(len(parts), len(parts) + len(own))
            parts += own
        self._furnish(parts)
        self._light(scene)
        self._aim(scene.camera)
        self._mj.mj_kinematics(self.model, self.data)
        self._mj.mj_camlight(self.model, self.data)
        image = self._draw([subject.name for subject in scene.subjects])
        masks = self._draw_masks(owned)
        keypoints = self._keypoints(scene, masks)
        bare = None
        if empty:
            self._furnish(scene.room.parts)
            self._mj.mj_kinematics(self.model, self.data)
            bare = self._draw([])
        return Frame(image, masks, bare, keypoints)

    def lowest_point_m(self) -> float:
        """Height of the lowest point of the dog that was drawn last, its tail aside."""
        return self._dog.lowest_point_m()

    # -- the subjects ----------------------------------------------------------------------------

    def _fixed_materials(self) -> None:
        model = self.model
        self._materials = {model.mat(i).name: i for i in range(model.nmat)}
        for name in ("skin", "person"):
            slot = self._materials[name]
            model.mat_specular[slot], model.mat_shininess[slot] = 0.05, 0.1
        slot = self._materials["bottle"]
        model.mat_specular[slot], model.mat_shininess[slot] = 0.5, 0.6
        model.geom_sameframe[self._pool] = 0

    def _put(self, subject: Subject) -> tuple[Part, ...]:
        """Move and paint the subject's skin; gives the parts that belong to it."""
        if isinstance(subject, Person):
            turn, spot = yaw_matrix(subject.yaw_deg), np.array((*subject.xy, 0.0))
            self._skins["person"].move(body_vertices(subject) @ turn.T + spot)
            write_texture(self.model, "person", paint_outfit(subject.outfit), self._upload)
            return moved(subject.held, turn, spot)
        if isinstance(subject, Bottle):
            self._skins["bottle"].move(bottle_vertices(subject))
            write_texture(self.model, "bottle", paint_bottle(subject.look), self._upload)
        return subject.parts if isinstance(subject, PhotoFrame) else ()

    # -- the room --------------------------------------------------------------------------------

    def _furnish(self, parts: Sequence[Part]) -> None:
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

    def _draw(self, subjects: Sequence[str]) -> Image:
        """The picture, with the skins of ``subjects`` alone."""
        mj, option = self._mj, self._mj.MjvOption()
        option.geomgroup[:] = 0
        option.geomgroup[ROOM_GROUP], option.geomgroup[DOG_GROUP] = 1, int("dog" in subjects)
        option.skingroup[:] = 0
        for name in set(subjects) & set(SKIN_GROUPS):
            option.skingroup[SKIN_GROUPS[name]] = 1
        option.flags[mj.mjtVisFlag.mjVIS_SKIN] = bool(subjects)
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

    def _draw_masks(self, owned: dict[str, range]) -> dict[str, Mask]:
        """Masks of the scene that was drawn last; ``owned`` says which parts are each subject's."""
        mj, flags = self._mj, self._scene.flags
        flags[mj.mjtRndFlag.mjRND_SEGMENT] = flags[mj.mjtRndFlag.mjRND_IDCOLOR] = 1
        flags[mj.mjtRndFlag.mjRND_SHADOW] = 0
        code = self._read().astype(np.int32)
        flags[mj.mjtRndFlag.mjRND_SEGMENT] = flags[mj.mjtRndFlag.mjRND_IDCOLOR] = 0
        segment = code[..., 0] + (code[..., 1] << 8) + (code[..., 2] << 16) - 1
        owner = np.full(self._scene.ngeom + 2, "", object)
        for i in range(self._scene.ngeom):
            geom = self._scene.geoms[i]
            if geom.segid >= 0:
                owner[geom.segid] = self._owner(geom, owned)
        n, k = self.size_px, self.supersample
        masks = {}
        for name in owned:
            seen = (owner == name)[segment.clip(-1)] & (segment >= 0)
            share = seen.reshape(n, k, n, k).mean(axis=(1, 3))
            masks[name] = np.asarray(share >= 0.5, np.bool_)
        return masks

    def _owner(self, geom: Any, owned: dict[str, range]) -> str:
        """The subject that a drawn geom belongs to, or "" for the room."""
        if geom.objtype == self._mj.mjtObj.mjOBJ_SKIN:
            return self._skin_owner[geom.objid]
        slot = self._slots.get(geom.objid)
        if slot is None:
            return "dog"  # its claws and eyes
        return next((name for name, slots in owned.items() if slot in slots), "")

    def _keypoints(self, scene: Scene, masks: dict[str, Mask]) -> NDArray[np.float32] | None:
        """Keypoints of the scene that was drawn last."""
        person = next((s for s in scene.subjects if isinstance(s, Person)), None)
        if person is None:
            return None
        depth = self._read_depth()[:: self.supersample, :: self.supersample]
        return keypoints_in(scene.camera, person, depth, masks["person"])

    def _read_depth(self) -> NDArray[np.float32]:
        """Distance along the view of what each pixel shows, metres."""
        view = np.empty((self._view.height, self._view.width), np.float32)
        self._mj.mjr_readPixels(None, view, self._view, self._context)
        clip, extent = self.model.vis.map, self.model.stat.extent
        near, far = clip.znear * extent, clip.zfar * extent
        return np.asarray(near / (1 - view[::-1] * (1 - near / far)), np.float32)


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
