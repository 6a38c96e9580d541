"""A private pet home: one dog with its fur and habits, one bedroom, a couple of fixed cameras.

To be hard for a model that knows only the words of the home, its cameras hang above head height of
the dog, its light changes, its dog is grey and white, mostly brindled, and lies about among
cushions and boxes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from spinml.home.furniture import MAKERS, Workshop, place
from spinml.home.lights import moody_lights
from spinml.home.pets import sample_things
from spinml.home.poses import sample_pose
from spinml.home.private import PrivateHome, nudged
from spinml.home.rooms import sample_room
from spinml.home.scenes import PRIVATE_ROOMS, Camera, Dog, Fur, Part, Room, Scene

PATTERNS = ("brindle", "belly", "patches")
CAMERAS = 2
ZONE_M = 0.4
"""The dog stays within this distance of the middle of the floor that the cameras watch."""
REFERENCE_STATUSES = (
    "sleeping", "sitting", "sleeping", "eating", "sitting", "sleeping", "playing", "sitting",
    "eating", "sleeping",
)  # fmt: skip
"""What the dog does on the reference photos: an unequal, natural mix."""


@dataclass(frozen=True)
class PetHome(PrivateHome):
    """One dog in one bedroom, drawn from ``seed`` alone."""

    task: ClassVar[str] = "pet"
    reference_labels: ClassVar[tuple[str, ...]] = REFERENCE_STATUSES

    @cached_property
    def fur(self) -> Fur:
        """The dog's fur: grey and white."""
        rng = np.random.default_rng([self.seed, 1])
        dark = float(rng.uniform(0.2, 0.34))
        return Fur(
            word="grey and white",
            base=(dark, dark, dark * 1.06),
            second=(0.86, 0.86, 0.85),
            pattern=str(rng.choice(PATTERNS, p=(0.6, 0.25, 0.15))),
            seed=int(rng.integers(2**31)),
            line=float(rng.uniform(0.3, 0.7)),
            rough=float(rng.uniform(0.05, 0.3)),
        )

    @cached_property
    def room(self) -> Room:
        """The bedroom, the same in every photo."""
        kind, wall = PRIVATE_ROOMS[0]
        for attempt in range(200):
            rng = np.random.default_rng([self.seed, 2, attempt])
            room = sample_room(rng, kind=kind, wall_word=wall)
            if all(_gap(self._middle, box) > 0.35 for box in room.blocked):
                return room
        raise RuntimeError(f"private home {self.seed}: no room leaves the middle free")

    @property
    def _middle(self) -> tuple[float, float]:
        return (0.0, -0.6)

    @cached_property
    def cameras(self) -> tuple[Camera, ...]:
        """The fixed cameras, on shelves, looking down at the middle."""
        rng = np.random.default_rng([self.seed, 3])
        x, y = self._middle
        first = float(rng.uniform(150, 210))
        cameras = []
        for k in range(CAMERAS):
            turn = math.radians(first + (70 + float(rng.uniform(0, 40))) * k)
            across, height = float(rng.uniform(1.3, 1.55)), float(rng.uniform(1.2, 1.45))
            pos = (x + across * math.sin(turn), y + across * math.cos(turn), height)
            cameras.append(Camera(pos, (x, y, 0.36), float(rng.uniform(52, 58))))
        return tuple(cameras)

    def sample(self, label: str, stream: int, index: int, sub_seed: int = 0) -> Scene:
        """A scene of this home; it depends on the seed and on these numbers alone."""
        rng = np.random.default_rng([self.seed, stream, index, sub_seed])
        lights, ambient = moody_lights(self.room, rng)
        radius, turn = ZONE_M * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi)
        spot = (
            self._middle[0] + radius * math.cos(turn),
            self._middle[1] + radius * math.sin(turn),
        )
        return Scene(
            room=_with_clutter(self.room, spot, rng),
            things=sample_things(label, spot, rng),
            lights=lights,
            ambient=ambient,
            camera=nudged(self.cameras[int(rng.integers(CAMERAS))], rng),
            subjects=(Dog(self.fur, sample_pose(label, rng), spot, float(rng.uniform(0, 360))),),
            identity=self.name,
        )

    @property
    def description(self) -> str:
        """What the photos show, in words."""
        fur, room = self.fur, self.room
        return (
            f"a {fur.word} dog ({fur.pattern}) in a {room.kind} with {room.wall_word} walls and a "
            f"{room.floor_word} floor, seen from {len(self.cameras)} cameras on shelves"
        )


def _gap(spot: tuple[float, float], box: tuple[float, float, float, float, float]) -> float:
    dx = max(box[0] - spot[0], 0.0, spot[0] - box[2])
    dy = max(box[1] - spot[1], 0.0, spot[1] - box[3])
    return math.hypot(dx, dy)


def _with_clutter(room: Room, spot: tuple[float, float], rng: np.random.Generator) -> Room:
    """Cushions and boxes about the floor, elsewhere in every photo, never under the dog."""
    shop = Workshop(rng)
    parts: list[Part] = []
    for _ in range(int(rng.integers(0, 4))):
        piece = MAKERS[str(rng.choice(("cushion", "cushion", "carton")))](shop)
        turn, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.75, 1.25)
        x = float(spot[0] + reach * math.cos(turn))
        y = float(spot[1] + reach * math.sin(turn))
        inside = abs(x) < room.width_m / 2 - 0.35 and abs(y) < room.depth_m / 2 - 0.35
        if inside and all(_gap((x, y), box) > 0.3 for box in room.blocked):
            parts += place(piece, x, y, float(rng.uniform(0, 360)))
    return replace(room, parts=(*room.parts, *parts))
