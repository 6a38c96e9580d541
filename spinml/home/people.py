"""Public human scenes: any senior person eating, drinking, walking or reading in a living room."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from spinml.home.captions import IDENTITIES
from spinml.home.furniture import Piece, Workshop
from spinml.home.geometry import Floats, boxes_of, in_sight, moved, overlaps, vec3, yaw_matrix
from spinml.home.lights import sample_lights
from spinml.home.outfits import sample_outfit
from spinml.home.postures import PLATE_M, TABLE_EDGE_M, Stand, sample_posture
from spinml.home.rooms import sample_room
from spinml.home.scenes import Camera, Part, Person, Room, Scene, Vec3

KIND_WEIGHTS = {"living room": 0.7, "bedroom": 0.12, "kitchen": 0.12, "office": 0.06}
TALL_M = 1.68
"""Height of a person of scale 1."""


@dataclass(frozen=True)
class Seat:
    """A place to sit on, in the person's frame: x ahead, the hips at the origin, metres."""

    parts: tuple[Part, ...]
    height_m: float


def any_human_scene(rng: np.random.Generator, activity: str) -> Scene | None:
    """A person anywhere in any room, or ``None`` where there is no place or no camera sees it."""
    kind = str(rng.choice(list(KIND_WEIGHTS), p=list(KIND_WEIGHTS.values())))
    room = sample_room(rng, kind=kind)
    shop = Workshop(rng)
    seated = activity == "eating" or (activity != "walking" and rng.random() < 0.6)
    seat = (dining_chair if activity == "eating" else easy_seat)(shop) if seated else None
    table_m = shop.between(0.7, 0.76) if activity == "eating" else 0.0
    parts = (*(seat.parts if seat else ()), *(dining_table(shop, table_m) if table_m else ()))
    spot = clear_place(room, parts, rng)
    if spot is None:
        return None
    x, y, yaw_deg = spot
    room = furnished(room, parts, x, y, yaw_deg)
    stand = Stand(seat.height_m if seat else 0.0, table_m)
    person = sample_person(activity, stand, (x, y), yaw_deg, rng)
    camera = _public_camera(room, person, rng)
    if camera is None:
        return None
    lights, ambient = sample_lights(room, rng)
    return Scene(
        room=room,
        things=plate_of(person, table_m, rng) if table_m else (),
        lights=lights,
        ambient=ambient,
        camera=camera,
        subjects=(person,),
        identity=str(rng.choice(IDENTITIES)),
    )


def sample_person(
    activity: str,
    stand: Stand,
    xy: tuple[float, float],
    yaw_deg: float,
    rng: np.random.Generator,
) -> Person:
    """A random person with a random posture of ``activity``."""
    outfit = sample_outfit(rng)
    posture, held = sample_posture(activity, stand, rng, scale=float(rng.uniform(0.93, 1.05)))
    return Person(outfit, posture, held, xy, yaw_deg)


def dining_chair(shop: Workshop) -> Seat:
    """A wooden chair."""
    piece = shop.chair()
    return Seat(_behind(piece, 0.24), 0.475)


def easy_seat(shop: Workshop) -> Seat:
    """An armchair or a wooden chair."""
    if shop.rng.random() < 0.4:
        return dining_chair(shop)
    return armchair(shop)


def armchair(shop: Workshop) -> Seat:
    """An upholstered seat with arms."""
    rgb, tex = shop.cloth()
    wide, deep = shop.between(0.36, 0.42), shop.between(0.7, 0.8)
    seat, back = shop.between(0.4, 0.45), shop.between(0.8, 1.0)
    parts = [
        shop.box((0, deep / 2, seat / 2 + 0.03), (wide, deep / 2, seat / 2 - 0.03), rgb, tex),
        shop.box((0, 0.09, back / 2 + 0.04), (wide, 0.09, back / 2 - 0.04), rgb, tex),
    ]
    for x in (-wide + 0.055, wide - 0.055):
        arm = (0.055, deep / 2, (seat + 0.16) / 2)
        parts.append(shop.box((x, deep / 2, (seat + 0.16) / 2), arm, rgb, tex))
    return Seat(_behind(Piece(tuple(parts), 2 * wide, deep, back), 0.34), seat)


def _behind(piece: Piece, back_m: float) -> tuple[Part, ...]:
    """The piece, whose back is at y = 0, with its back ``back_m`` behind a person's hips."""
    return moved(piece.parts, yaw_matrix(-90.0), (-back_m, 0.0, 0.0))


def dining_table(shop: Workshop, top_m: float) -> tuple[Part, ...]:
    """A table before the person, in its frame."""
    wide, deep = shop.between(0.8, 1.3), shop.between(0.6, 0.8)
    top = shop.box((0, deep / 2, top_m - 0.02), (wide / 2, deep / 2, 0.02))
    piece = Piece((top, *shop.legs(wide, deep, top_m - 0.02, 0.03)), wide, deep, top_m)
    return moved(piece.parts, yaw_matrix(-90.0), (TABLE_EDGE_M, 0.0, 0.0))


def plate_of(person: Person, table_m: float, rng: np.random.Generator) -> tuple[Part, ...]:
    """A plate with food before the person, perhaps a glass beside it; in the room's frame."""
    radius = float(rng.uniform(0.1, 0.13))
    china = (0.93, 0.93, 0.91) if rng.random() < 0.7 else (0.4, 0.55, 0.75)
    food = vec3(rng.uniform((0.5, 0.3, 0.1), (0.8, 0.6, 0.3)))
    parts = [
        Part("cylinder", (radius, 0.008, 0), (PLATE_M, 0, table_m + 0.008), china),
        Part("ellipsoid", (radius * 0.66, radius * 0.6, 0.03), (PLATE_M, 0, table_m + 0.014), food),
    ]
    if rng.random() < 0.4:
        place_m: Vec3 = (PLATE_M + 0.08, float(rng.choice((-0.22, 0.22))), table_m + 0.05)
        parts.append(Part("cylinder", (0.032, 0.05, 0), place_m, (0.75, 0.82, 0.86)))
    return moved(parts, yaw_matrix(person.yaw_deg), (*person.xy, 0.0))


def clear_place(
    room: Room, parts: tuple[Part, ...], rng: np.random.Generator, *, tries: int = 60
) -> tuple[float, float, float] | None:
    """``(x, y, yaw)`` where a person with its seat and table (``parts``) fits, or ``None``."""
    own = boxes_of((Part("box", (0.28, 0.28, 0.5), (0, 0, 0.6), (0, 0, 0)), *parts))
    low, high = own[:, :2].min(0), own[:, 3:5].max(0)
    corners = np.array([(x, y, 0) for x in (low[0], high[0]) for y in (low[1], high[1])])
    for _ in range(tries):
        x = float(rng.uniform(-0.35, 0.35) * room.width_m)
        y = float(rng.uniform(-0.3, 0.35) * room.depth_m)
        yaw = float(rng.uniform(0, 360))
        around = corners @ yaw_matrix(yaw).T + (x, y, 0)
        (x0, y0), (x1, y1) = around[:, :2].min(0), around[:, :2].max(0)
        inside = max(-x0, x1) < room.width_m / 2 and max(-y0, y1) < room.depth_m / 2
        free = all(x1 <= a or c <= x0 or y1 <= b or d <= y0 for a, b, c, d, _ in room.blocked)
        if inside and free:
            return x, y, yaw
    return None


def furnished(room: Room, parts: tuple[Part, ...], x: float, y: float, yaw_deg: float) -> Room:
    """The room with further furniture, given in the frame of a person at ``(x, y)``."""
    if not parts:
        return room
    added = moved(parts, yaw_matrix(yaw_deg), (x, y, 0.0))
    boxes = boxes_of(added)
    (x0, y0), (x1, y1, top) = boxes[:, :2].min(0).tolist(), boxes[:, 3:].max(0).tolist()
    blocked = (*room.blocked, (x0, y0, x1, y1, top))
    return replace(room, parts=(*room.parts, *added), blocked=blocked)


def reach_of(person: Person) -> tuple[Floats, Floats]:
    """Lower and upper corner ``(3,)`` of the box around a person's joints, in the room."""
    points = np.array([place for _, place in person.posture.points])
    points = points @ yaw_matrix(person.yaw_deg).T + np.array((*person.xy, 0.0))
    low, high = points.min(0), points.max(0)
    return low - np.array((0.12, 0.12, 0.05)), high + np.array((0.12, 0.12, 0.15))


def _public_camera(room: Room, person: Person, rng: np.random.Generator) -> Camera | None:
    """A camera that sees the whole person, from its front or side, level or from a shelf."""
    boxes = boxes_of(room.parts)
    low, high = reach_of(person)
    middle = (low + high) / 2
    for _ in range(60):
        fov = float(rng.uniform(46, 74))
        size = float(rng.uniform(0.56, 0.85)) / math.tan(math.radians(fov / 2))
        elevation = math.radians(rng.uniform(18, 42) if rng.random() < 0.4 else rng.uniform(-6, 18))
        turn = math.radians(person.yaw_deg + float(np.clip(rng.normal(0, 55), -125, 125)))
        reach = size * float(high[2] - low[2]) / 1.1 + 0.25
        flat = math.cos(elevation)
        ahead = np.array((flat * math.cos(turn), flat * math.sin(turn), math.sin(elevation)))
        eye = middle + reach * ahead
        if sees_person(room, boxes, eye, person):
            aim = middle + rng.uniform(-0.12, 0.12, 3)
            return Camera(vec3(eye), vec3(aim), fov)
    return None


def sees_person(room: Room, boxes: Floats, eye: Floats, person: Person) -> bool:
    """Whether a camera at ``eye`` is in the room and sees head, chest and hands of the person.

    Args:
        room: the room.
        boxes: around its parts, shape ``(n, 6)``.
        eye: where the camera is, shape ``(3,)``.
        person: whom it watches.
    """
    if abs(eye[0]) > room.width_m / 2 - 0.1 or abs(eye[1]) > room.depth_m / 2 - 0.1:
        return False
    if not 0.2 < eye[2] < 2.38 or overlaps(boxes, eye - 0.08, eye + 0.08).any():
        return False
    turn = yaw_matrix(person.yaw_deg)
    at = dict(person.posture.points)
    sitting = at["pelvis"][2] < 0.8  # knees may then be below a table
    wanted = ("head", "chest", "l_wrist", "r_wrist", *(() if sitting else ("l_knee", "r_knee")))
    return all(
        in_sight(boxes, eye, turn @ np.array(at[name]) + (*person.xy, 0.0), 0.12) for name in wanted
    )
