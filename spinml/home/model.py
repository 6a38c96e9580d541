"""The MuJoCo model: dm_control's skinned dog, stripped to what is seen, the skins of a person and a
pill bottle, and a pool of geoms.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from spinml.home.body import body_topology
from spinml.home.bottle import BOTTLE_PX, bottle_topology
from spinml.home.outfits import SKIN_PX
from spinml.home.textures import TEXTURE_PX, Texture, texture_bank
from spinml.home.tubes import MeshTopology

POOL = 180
"""Room geoms available to a scene; unused ones are invisible."""
FUR_PX = 512
CUBES = ("wood", "fabric")
"""Textures that also wrap around solids."""
LIGHTS = 3
ROOM_GROUP, DOG_GROUP = 0, 1
SKIN_GROUPS = {"dog": 0, "person": 1, "bottle": 2}
"""Groups of the skins, so that each is shown alone."""


def dog_xml() -> Path:
    """Path of the dog's MJCF in the installed dm_control."""
    import dm_control.suite

    return Path(dm_control.suite.__file__).parent / "dog.xml"


@lru_cache(maxsize=1)
def build_model(offscreen_px: int) -> Any:
    """Compile the model once per process; ``offscreen_px`` bounds the picture's side."""
    import mujoco

    spec = mujoco.MjSpec.from_file(str(dog_xml()))
    for group in (spec.sensors, spec.actuators, spec.tendons, spec.excludes, spec.keys):
        for item in list(group):
            spec.delete(item)
    for light in list(spec.lights):
        spec.delete(light)
    for camera in list(spec.cameras):
        spec.delete(camera)
    _strip_geoms(spec)
    _plain_skin(spec)
    spec.compiler.boundmass = 1e-3
    spec.compiler.boundinertia = 1e-6
    _add_room(spec)
    _add_skin(spec, "person", body_topology(), SKIN_PX)
    _add_skin(spec, "bottle", bottle_topology(), BOTTLE_PX)
    spec.visual.global_.offwidth = spec.visual.global_.offheight = offscreen_px
    spec.visual.quality.offsamples = 0
    spec.visual.quality.shadowsize = 1024
    spec.visual.map.znear = 0.02
    spec.visual.map.zfar = 30
    spec.visual.map.shadowclip = 3.0
    model = spec.compile()
    _fill_textures(model)
    return model


def _strip_geoms(spec: Any) -> None:
    """Drop bones, arena walls and the ball; keep claws, eyes and the collision primitives."""
    for geom in list(spec.geoms):
        if geom.group == 5 or geom.parent.name == "world":
            spec.delete(geom)
    for body in list(spec.bodies):
        if body.name == "ball":
            spec.delete(body)
    used = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name not in used:
            spec.delete(mesh)


def _plain_skin(spec: Any) -> None:
    """Replace the skin's texture by one of ``FUR_PX`` that is repainted for every fur."""
    import mujoco

    texture = next(t for t in spec.textures if t.name == "skin")
    texture.file = ""
    texture.width = texture.height = FUR_PX
    texture.nchannel = 3
    texture.builtin = mujoco.mjtBuiltin.mjBUILTIN_FLAT


def _add_skin(spec: Any, name: str, mesh: MeshTopology, side_px: int) -> None:
    """A skin whose vertices and texture every scene writes anew; it hangs on the world alone."""
    _add_material(spec, name, side_px, cube=False, uniform=False)
    skin = spec.add_skin(name=name, material=name, group=SKIN_GROUPS[name])
    count = len(mesh.texcoords)
    skin.vert = np.zeros(3 * count, np.float32)
    skin.texcoord, skin.face = mesh.texcoords.ravel(), mesh.faces.ravel()
    skin.bodyname = ["world"]
    skin.bindpos, skin.bindquat = [0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]
    skin.vertid, skin.vertweight = [list(range(count))], [[1.0] * count]


def _add_room(spec: Any) -> None:
    import mujoco

    for name in texture_bank():
        _add_material(spec, name, TEXTURE_PX, cube=False)
        if name.startswith(CUBES):
            _add_material(spec, f"{name}_cube", TEXTURE_PX, cube=True)
    spec.add_material(name="plain", specular=0.15, shininess=0.3)
    for i in range(POOL):
        spec.worldbody.add_geom(
            name=f"room_{i}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[0.1, 0.1, 0.1],
            rgba=[1, 1, 1, 0],
            contype=0,
            conaffinity=0,
        )
    for i in range(LIGHTS):
        spec.worldbody.add_light(name=f"light_{i}", pos=[0, 0, 2.4], dir=[0, 0, -1])
    spec.worldbody.add_camera(name="view", pos=[0, -2, 1])


def _add_material(spec: Any, name: str, side_px: int, *, cube: bool, uniform: bool = True) -> None:
    """A blank texture and its material; :func:`_fill_textures` gives it pixels."""
    import mujoco

    kind = mujoco.mjtTexture.mjTEXTURE_CUBE if cube else mujoco.mjtTexture.mjTEXTURE_2D
    spec.add_texture(
        name=name,
        type=kind,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT,
        width=side_px,
        height=side_px,
        rgb1=[0.5, 0.5, 0.5],
    )
    material = spec.add_material(name=name, texuniform=uniform, specular=0.1, shininess=0.2)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name


def _fill_textures(model: Any) -> None:
    """Write the bank's pixels over the blank textures."""
    for name, pixels in texture_bank().items():
        _fill(model, name, pixels)
        if name.startswith(CUBES):
            _fill(model, f"{name}_cube", np.concatenate([pixels] * 6))


def _fill(model: Any, name: str, pixels: Texture) -> None:
    texture = model.tex(name).id
    start = model.tex_adr[texture]
    model.tex_data[start : start + pixels.size] = pixels.reshape(-1)


def ids(model: Any, prefix: str, kind: str) -> list[int]:
    """Ids of all ``kind`` ("geom", "light", "mat") whose name starts with ``prefix``."""
    count = {"geom": model.ngeom, "light": model.nlight, "mat": model.nmat}[kind]
    accessor = getattr(model, kind)
    return [i for i in range(count) if accessor(i).name.startswith(prefix)]


def original_skin() -> Texture:
    """The skin texture that dm_control ships, RGB, shape ``(1024, 1024, 3)``."""
    import cv2

    path = dog_xml().parent / "dog_assets" / "skin_texture.png"
    bgr = cv2.imread(str(path))
    if bgr is None:
        raise FileNotFoundError(f"dm_control's dog has no skin texture at {path}")
    return np.asarray(bgr[..., ::-1], np.uint8)
