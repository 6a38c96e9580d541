"""Public bottle scenes: a pill bottle and mostly a photo frame about a bedroom, seen from near."""

from __future__ import annotations

import math

import numpy as np

from spinml.home.bottle import sample_bottle_look
from spinml.home.captions import IDENTITIES
from spinml.home.furniture import any_colour
from spinml.home.geometry import (
    Floats,
    boxes_of,
    frame,
    in_sight,
    matrix_of,
    moved,
    overlaps,
    pitch_matrix,
    quat_of,
    vec3,
    yaw_matrix,
)
from spinml.home.lights import sample_lights
from spinml.home.rooms import sample_room
from spinml.home.scenes import (
    Bottle,
    BottleLook,
    Camera,
    Part,
    PhotoFrame,
    Room,
    Scene,
    Subject,
    Vec3,
)
from spinml.home.surfaces import free_place

WITH_FRAME, LYING = 0.85, 0.15
_FRAME_WITHIN_M = 0.26
ROOM_SHARES = {"bedroom": 0.7, "living room": 0.15, "kitchen": 0.05, "office": 0.1}


def any_bottle_scene(rng: np.random.Generator, label: str) -> Scene | None:
    """A bottle anywhere in a room, or ``None`` where there is no place or no view of it."""
    room = sample_room(rng, kind=str(rng.choice(list(ROOM_SHARES), p=list(ROOM_SHARES.values()))))
    bottle = put_bottle(room, sample_bottle_look(rng), rng)
    if bottle is None:
        return None
    photo = put_frame(room, bottle, sample_frame(rng), rng) if rng.random() < WITH_FRAME else None
    subjects: tuple[Subject, ...] = (bottle, photo) if photo else (bottle,)
    camera = near_camera(room, subjects, rng)
    if camera is None:
        return None
    lights, ambient = sample_lights(room, rng)
    return Scene(room, (), lights, ambient, camera, subjects, str(rng.choice(IDENTITIES)))


def put_bottle(room: Room, look: BottleLook, rng: np.random.Generator) -> Bottle | None:
    """The bottle upright or on its side, at a free place of any surface."""
    wide, tall = 2 * look.radius_m, look.height_m
    yaw = float(rng.uniform(0, 360))
    if rng.random() < LYING:
        side = tall * 1.1
        spot = free_place(room.parts, (side, side, wide), rng)
        axis = yaw_matrix(yaw) @ np.array((1.0, 0.0, 0.0))
        roll = float(rng.uniform(-60, 60))
        turn = yaw_matrix(yaw) @ pitch_matrix(90.0) @ yaw_matrix(180.0 + roll)
        foot = None if spot is None else vec3(np.array(spot) - axis * tall / 2 + (0, 0, wide / 2))
        return None if foot is None else Bottle(look, foot, quat_of(turn))
    spot = free_place(room.parts, (wide * 1.3, wide * 1.3, tall), rng)
    return None if spot is None else Bottle(look, spot, quat_of(yaw_matrix(yaw)))


def sample_frame(rng: np.random.Generator) -> PhotoFrame:
    """A standing picture frame, leaning back, its foot at the origin; it looks along x."""
    a, b = float(rng.uniform(0.06, 0.1)), float(rng.uniform(0.07, 0.12))
    border, lean = float(rng.uniform(0.01, 0.02)), float(rng.uniform(6, 16))
    wood = any_colour(rng, 0.6)
    picture = f"photo_{rng.integers(8)}"
    facing = frame((0.0, 1.0, 0.0), (1.0, 0.0, 0.0))  # the texture's x to the left, y upwards
    repeat = (1.0 / a, 1.0 / b)
    parts = [
        Part("box", (a, b, 0.002), (0.008, 0, b + border), (1, 1, 1), picture, quat_of(facing),
             repeat=repeat),
        Part("box", (0.006, a + border, b + border), (0, 0, b + border), wood),
    ]  # fmt: skip
    for y in (-a - border / 2, a + border / 2):
        parts.append(Part("box", (0.012, border / 2, b + border), (0.002, y, b + border), wood))
    for z in (border / 2, 2 * b + 1.5 * border):
        parts.append(Part("box", (0.012, a + border, border / 2), (0.002, 0, z), wood))
    tilted = moved(parts, pitch_matrix(-lean), (0.0, 0.0, 0.002))
    top = -1.4 * b * math.sin(math.radians(lean)) - 0.012  # where the stay meets the back
    behind = top - 0.72 * b * math.sin(math.radians(16.0))
    turn = quat_of(pitch_matrix(16.0))
    stay = Part("box", (0.003, 0.012, 0.72 * b), (behind, 0, 0.71 * b), wood, quat=turn)
    return PhotoFrame((*tilted, stay), 0.0)


def put_frame(
    room: Room, bottle: Bottle, photo: PhotoFrame, rng: np.random.Generator
) -> PhotoFrame | None:
    """The frame near the bottle, on the same surface, or ``None`` where there is no place."""
    boxes = boxes_of(photo.parts)
    side = 2 * float(np.hypot(*np.abs(boxes.reshape(-1, 2, 3)[..., :2]).max((0, 1))))
    height = float(boxes[:, 5].max())
    ground = bottle.pos[2] if _upright(bottle) else bottle.pos[2] - bottle.look.radius_m
    stand_in = Part("cylinder", (_reach(bottle), 0.1, 0), bottle.pos, (0, 0, 0))
    near = (bottle.pos[0], bottle.pos[1], ground)
    spot = free_place((*room.parts, stand_in), (side, side, height), rng, near, _FRAME_WITHIN_M)
    if spot is None:
        return None
    yaw = float(rng.uniform(0, 360))
    return PhotoFrame(moved(photo.parts, yaw_matrix(yaw), spot), yaw)


def _upright(bottle: Bottle) -> bool:
    return abs(bottle.quat[1]) + abs(bottle.quat[2]) < 1e-6


def _reach(bottle: Bottle) -> float:
    """How far the bottle reaches from its foot along the surface, metres."""
    return bottle.look.radius_m if _upright(bottle) else bottle.look.height_m


def middle_of(bottle: Bottle) -> Floats:
    """The bottle's middle in the room, shape ``(3,)``."""
    return np.array(bottle.pos) + matrix_of(bottle.quat)[:, 2] * bottle.look.height_m / 2


def near_camera(
    room: Room, subjects: tuple[Subject, ...], rng: np.random.Generator
) -> Camera | None:
    """A camera near enough that the bottle is 14 to 45 % of the picture's height."""
    bottle, rest = subjects[0], subjects[1:]
    if not isinstance(bottle, Bottle):
        raise TypeError(f"the target is {bottle!r}, wanted a Bottle")
    middle = middle_of(bottle)
    photo = next((s for s in rest if isinstance(s, PhotoFrame)), None)
    boxes = boxes_of((*room.parts, *(photo.parts if photo else ())))
    for _ in range(80):
        fov = float(rng.uniform(38, 62))
        share = math.exp(rng.uniform(math.log(0.14), math.log(0.45)))
        reach = bottle.look.height_m / share / (2 * math.tan(math.radians(fov / 2)))
        elevation = math.radians(rng.triangular(4, 18, 58))
        turn = math.radians(photo.yaw_deg + rng.normal(0, 55) if photo else rng.uniform(0, 360))
        flat = math.cos(elevation)
        ahead = np.array((flat * math.cos(turn), flat * math.sin(turn), math.sin(elevation)))
        eye = middle + reach * ahead
        if sees_bottle(room, boxes, eye, bottle):
            slack = max(0.0, 0.5 * bottle.look.height_m / share - 0.6 * bottle.look.height_m)
            shift = rng.uniform(-0.62, 0.62, 3) * slack
            if photo and rng.random() < 0.65:  # look between the two, the bottle well inside
                aside = np.subtract(photo.parts[0].pos, middle)
                shift = aside * min(0.5, 0.7 * slack / float(np.linalg.norm(aside)))
            aim = middle + shift
            return Camera(vec3(eye), vec3(aim), fov)
    return None


def sees_bottle(room: Room, boxes: Floats, eye: Floats, bottle: Bottle) -> bool:
    """Whether a camera at ``eye``, free of ``boxes`` ``(n, 6)``, sees the bottle's ends."""
    if abs(eye[0]) > room.width_m / 2 - 0.06 or abs(eye[1]) > room.depth_m / 2 - 0.06:
        return False
    if not 0.04 < eye[2] < 2.35 or overlaps(boxes, eye - 0.05, eye + 0.05).any():
        return False
    foot, middle = np.array(bottle.pos), middle_of(bottle)
    ends: tuple[Vec3, ...] = (vec3(0.6 * foot + 0.4 * middle), vec3(1.8 * middle - 0.8 * foot))
    return all(in_sight(boxes, eye, end, bottle.look.radius_m * 1.2) for end in ends)
