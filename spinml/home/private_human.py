"""A private human home: one senior person with its clothes in one living room.

Two cameras hang in the corners below the ceiling; table, chair and armchair stand where they always
stand, whatever the person does, so that the furniture does not give the activity away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from spinml.home.furniture import Workshop
from spinml.home.geometry import boxes_of
from spinml.home.lights import moody_lights
from spinml.home.outfits import TOPS, TROUSERS, sample_outfit
from spinml.home.people import (
    armchair,
    clear_place,
    dining_chair,
    dining_table,
    furnished,
    plate_of,
    sees_person,
)
from spinml.home.postures import Stand, sample_posture
from spinml.home.private import PrivateHome, nudged
from spinml.home.rooms import sample_room
from spinml.home.scenes import (
    PRIVATE_OUTFITS,
    PRIVATE_ROOMS,
    Camera,
    Outfit,
    Person,
    Room,
    Scene,
)

TABLE_M = 0.73
REFERENCE_ACTIVITIES = (
    "reading", "walking", "eating", "reading", "drinking", "walking", "reading", "eating",
    "walking", "reading",
)  # fmt: skip
_Place = tuple[float, float, float]


@dataclass(frozen=True)
class _Furnished:
    """The room with its seats: where they are ``(x, y, yaw)``, and how high."""

    room: Room
    at_table: _Place
    in_armchair: _Place
    armchair_m: float


@dataclass(frozen=True)
class HumanHome(PrivateHome):
    """One person in one living room, drawn from ``seed`` alone."""

    task: ClassVar[str] = "human"
    reference_labels: ClassVar[tuple[str, ...]] = REFERENCE_ACTIVITIES

    @cached_property
    def outfit(self) -> Outfit:
        """The person's looks, the same in every photo."""
        rng = np.random.default_rng([self.seed, 1])
        top, legs = PRIVATE_OUTFITS[0]
        return replace(
            sample_outfit(rng), top_word=top, legs_word=legs, top=TOPS[top], legs=TROUSERS[legs],
            pattern=str(rng.choice(("checked", "striped", "cardigan"))), long_sleeves=True,
        )  # fmt: skip

    @property
    def room(self) -> Room:
        """The living room with table, chair and armchair."""
        return self._furnished.room

    @cached_property
    def _furnished(self) -> _Furnished:
        kind, wall = PRIVATE_ROOMS[1]
        for attempt in range(400):
            rng = np.random.default_rng([self.seed, 2, attempt])
            room = sample_room(rng, kind=kind, wall_word=wall)
            shop = Workshop(rng)
            dining = (*dining_chair(shop).parts, *dining_table(shop, TABLE_M))
            easy = armchair(shop)
            table = clear_place(room, dining, rng)
            if table is None or not _faces_front(table):
                continue
            room = furnished(room, dining, *table)
            chair = clear_place(room, easy.parts, rng)
            if chair is None or not _faces_front(chair):
                continue
            room = furnished(room, easy.parts, *chair)
            if clear_place(room, (), rng) is not None:
                return _Furnished(room, table, chair, easy.height_m)
        raise RuntimeError(f"private home {self.seed}: no room holds table and armchair")

    @cached_property
    def cameras(self) -> tuple[Camera, ...]:
        """The fixed cameras, in the two front corners below the ceiling."""
        rng = np.random.default_rng([self.seed, 3])
        room = self.room
        cameras = []
        for side in (-1.0, 1.0):
            x = side * (room.width_m / 2 - float(rng.uniform(0.2, 0.5)))
            y, z = -room.depth_m / 2 + 0.2, float(rng.uniform(1.7, 2.1))
            cameras.append(Camera((x, y, z), (0.0, 0.0, 0.7), float(rng.uniform(62, 72))))
        return tuple(cameras)

    def sample(self, label: str, stream: int, index: int, sub_seed: int = 0) -> Scene:
        """A scene of this home; it depends on the seed and on these numbers alone."""
        rng = np.random.default_rng([self.seed, stream, index, sub_seed])
        lights, ambient = moody_lights(self.room, rng)
        place, stand = self._place(label, rng)
        posture, held = sample_posture(label, stand, rng, scale=0.98)
        person = Person(self.outfit, posture, held, place[:2], place[2])
        return Scene(
            room=self.room,
            things=plate_of(person, TABLE_M, rng) if label == "eating" else (),
            lights=lights,
            ambient=ambient,
            camera=nudged(self._camera(person, rng), rng),
            subjects=(person,),
            identity=self.name,
        )

    def _place(self, activity: str, rng: np.random.Generator) -> tuple[_Place, Stand]:
        """At the table, in the armchair, or on the feet; the same places for several activities."""
        home, draw = self._furnished, rng.random()
        if activity == "eating" or (activity in ("drinking", "reading") and draw < 0.3):
            return home.at_table, Stand(0.475, TABLE_M)
        if activity in ("drinking", "reading") and draw < 0.75:
            return home.in_armchair, Stand(home.armchair_m)
        spot = clear_place(home.room, (), rng, tries=5000)
        if spot is None:
            raise RuntimeError(f"private home {self.seed}: no place to stand")
        return spot, Stand()

    def _camera(self, person: Person, rng: np.random.Generator) -> Camera:
        """One of the cameras, of those that see the person if there are any."""
        boxes = boxes_of(self.room.parts)
        seeing = [
            c for c in self.cameras if sees_person(self.room, boxes, np.array(c.pos), person)
        ] or list(self.cameras)
        return seeing[int(rng.integers(len(seeing)))]

    @property
    def description(self) -> str:
        """What the photos show, in words."""
        outfit, room = self.outfit, self.room
        return (
            f"a person in {outfit.top_word} ({outfit.pattern}) and {outfit.legs_word} in a "
            f"{room.kind} with {room.wall_word} walls and a {room.floor_word} floor, seen from "
            f"{len(self.cameras)} cameras below the ceiling"
        )


def _faces_front(place: _Place) -> bool:
    """Whether a seat is turned towards the cameras (-y), 75 degrees at most to either side."""
    return math.sin(math.radians(place[2])) < -math.cos(math.radians(75))
