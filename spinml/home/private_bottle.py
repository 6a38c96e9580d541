"""A private bottle home: one pill bottle and one photo frame in one bedroom, taken by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from spinml.home.bottle import BANDS, BODIES, CAPS, sample_bottle_look
from spinml.home.bottles import near_camera, put_bottle, put_frame, sample_frame
from spinml.home.lights import moody_lights
from spinml.home.private import PrivateHome
from spinml.home.rooms import sample_room
from spinml.home.scenes import (
    PRIVATE_BOTTLES,
    PRIVATE_ROOMS,
    BottleLook,
    PhotoFrame,
    Room,
    Scene,
    Subject,
)

WITH_FRAME = 0.85
_TRIES = 60


@dataclass(frozen=True)
class BottleHome(PrivateHome):
    """One bottle, one photo frame and one bedroom, drawn from ``seed`` alone."""

    task: ClassVar[str] = "bottle"
    reference_labels: ClassVar[tuple[str, ...]] = ("bottle",)

    @cached_property
    def look(self) -> BottleLook:
        """The bottle: orange, white cap, blue band on its label."""
        body, band = PRIVATE_BOTTLES[0]
        drawn = sample_bottle_look(np.random.default_rng([self.seed, 1]))
        return replace(
            drawn, word=body, band_word=band, body=BODIES[body], band=BANDS[band], cap=CAPS[0]
        )

    @cached_property
    def photo(self) -> PhotoFrame:
        """The photo frame, before it is put anywhere."""
        return sample_frame(np.random.default_rng([self.seed, 3]))

    @cached_property
    def room(self) -> Room:
        """The bedroom, the same in every photo."""
        kind, wall = PRIVATE_ROOMS[0]
        return sample_room(np.random.default_rng([self.seed, 2]), kind=kind, wall_word=wall)

    def sample(self, label: str, stream: int, index: int, sub_seed: int = 0) -> Scene:
        """A scene of this home; it depends on the seed and on these numbers alone."""
        for attempt in range(_TRIES):
            rng = np.random.default_rng([self.seed, stream, index, sub_seed, attempt])
            bottle = put_bottle(self.room, self.look, rng)
            if bottle is None:
                continue
            beside = rng.random() < WITH_FRAME
            photo = put_frame(self.room, bottle, self.photo, rng) if beside else None
            subjects: tuple[Subject, ...] = (bottle, photo) if photo else (bottle,)
            camera = near_camera(self.room, subjects, rng)
            if camera is not None:
                lights, ambient = moody_lights(self.room, rng)
                return Scene(self.room, (), lights, ambient, camera, subjects, self.name)
        raise RuntimeError(f"private home {self.seed}: no view of the bottle in {_TRIES} draws")

    @property
    def description(self) -> str:
        """What the photos show, in words."""
        look, room = self.look, self.room
        return (
            f"{_an(look.word)} pill bottle with a {look.band_word} band, mostly beside a photo "
            f"frame, in a {room.kind} with {room.wall_word} walls and a {room.floor_word} floor"
        )


def _an(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
