"""A private home: one dog with its fur and habits, one bedroom, a couple of fixed cameras.

Homes are made from furs and rooms that the public world leaves out. To be hard for a model that
knows only the words of the home, its cameras hang above head height of the dog and look down more
steeply than most public ones, its light changes, its dog is brindled in grey and white, and lies
about among cushions and boxes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from spinml.home.furniture import MAKERS, Workshop, place
from spinml.home.poses import STATUSES, sample_pose
from spinml.home.rooms import sample_room
from spinml.home.scenes import (
    PRIVATE_ROOMS,
    RGB,
    Camera,
    Fur,
    Light,
    Part,
    Room,
    Scene,
    is_private,
)
from spinml.home.worlds import MAX_SUB_SEEDS, sample_things

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
class PrivateHome:
    """One home, drawn from ``seed`` alone."""

    name: str
    seed: int

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

    def reference(self, index: int) -> Iterator[Scene]:
        """Reference scene ``index`` and the scenes that replace it while not usable."""
        status = REFERENCE_STATUSES[index % len(REFERENCE_STATUSES)]
        return (self.sample(status, 4, index, sub) for sub in range(MAX_SUB_SEEDS))

    def test(self, index: int) -> Iterator[Scene]:
        """Test scene ``index``, statuses in turn, and its replacements."""
        status = STATUSES[index % len(STATUSES)]
        return (self.sample(status, 5, index, sub) for sub in range(MAX_SUB_SEEDS))

    def training(self, index: int) -> Iterator[Scene]:
        """Further scenes of this home, for an oracle that may see them; none is in the test set."""
        status = STATUSES[index % len(STATUSES)]
        return (self.sample(status, 6, index, sub) for sub in range(MAX_SUB_SEEDS))

    def sample(self, status: str, stream: int, index: int, sub_seed: int = 0) -> Scene:
        """A scene of this home; it depends on the seed and on these numbers alone."""
        rng = np.random.default_rng([self.seed, stream, index, sub_seed])
        lights, ambient = _lights(self.room, rng)
        radius, turn = ZONE_M * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi)
        spot = (
            self._middle[0] + radius * math.cos(turn),
            self._middle[1] + radius * math.sin(turn),
        )
        scene = Scene(
            room=_with_clutter(self.room, spot, rng),
            things=sample_things(status, spot, rng),
            lights=lights,
            ambient=ambient,
            camera=_nudged(self.cameras[int(rng.integers(CAMERAS))], rng),
            fur=self.fur,
            pose=sample_pose(status, rng),
            dog_xy=spot,
            yaw_deg=float(rng.uniform(0, 360)),
            identity=self.name,
        )
        if not is_private(scene):
            raise RuntimeError(f"home {self.name!r} is not among the private furs and rooms")
        return scene


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


def _nudged(camera: Camera, rng: np.random.Generator) -> Camera:
    """The camera as it hangs that day: a centimetre and a degree away from where it was."""
    px, py, pz = (float(c + rng.normal(0, 0.01)) for c in camera.pos)
    ax, ay, az = (float(c + rng.normal(0, 0.03)) for c in camera.look_at)
    return Camera((px, py, pz), (ax, ay, az), camera.fov_deg)


def _lights(room: Room, rng: np.random.Generator) -> tuple[tuple[Light, ...], RGB]:
    """Daylight from the side, a ceiling lamp, or one low lamp in the evening."""
    mood = int(rng.choice(3, p=(0.35, 0.3, 0.35)))
    strength = float(rng.uniform(0.8, 1.1))
    tone = np.array(((0.97, 1.0, 1.05), (1.0, 0.98, 0.93), (1.05, 0.96, 0.84))[mood])
    side = float(rng.choice((-1.0, 1.0)))
    x = side * (room.width_m / 2 - 0.3)
    place_m = ((x, 0.5, 1.9), (0.0, 0.0, 2.45), (x, float(rng.uniform(-1, 1)), 0.9))[mood]
    goal = (0.0, -0.4, 0.0) if mood < 2 else (0.0, -0.6, 0.2)
    main, ambient = ((0.7, 0.52), (0.55, 0.55), (0.75, 0.42))[mood]
    light = Light(place_m, goal, _rgb(tone * main * strength), shadow=True, exponent=0.5)
    fill = Light((-x, -0.5, 2.2), (0, 0, 0.3), _rgb(tone * 0.12 * strength), shadow=False)
    return (light, fill), _rgb(tone * ambient * strength)


def _rgb(values: np.ndarray) -> RGB:
    r, g, b = (float(v) for v in values)
    return (r, g, b)
