"""Two worlds that never mix: the public world, and private homes that it leaves out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spinml.home.captions import IDENTITIES
from spinml.home.poses import STATUSES, sample_pose
from spinml.home.rooms import sample_room
from spinml.home.scenes import (
    RGB,
    Camera,
    Fur,
    Light,
    Part,
    Room,
    Scene,
    Vec3,
    is_private,
)

FURS: dict[str, RGB] = {
    "black": (0.12, 0.115, 0.115), "white": (0.93, 0.91, 0.87), "grey": (0.42, 0.42, 0.43),
    "brown": (0.36, 0.22, 0.12), "golden": (0.78, 0.55, 0.28), "red": (0.55, 0.25, 0.1),
    "cream": (0.88, 0.78, 0.6),
}  # fmt: skip
PATTERNS = ("belly", "patches", "spots", "saddle", "socks")
MAX_SUB_SEEDS = 60


@dataclass(frozen=True)
class PublicWorld:
    """Everything the bundled checkpoint may see: any dog in any room, none of them private."""

    seed: int

    def sample(self, index: int, sub_seed: int = 0) -> Scene:
        """Scene ``index``; ``sub_seed`` counts redraws of scenes that came out unusable."""
        for attempt in range(MAX_SUB_SEEDS):
            rng = np.random.default_rng([self.seed, index, sub_seed, attempt])
            scene = _any_scene(rng, STATUSES[index % len(STATUSES)])
            if scene is not None and not is_private(scene):
                return scene
        raise RuntimeError(f"no public scene found for index {index} after {MAX_SUB_SEEDS} draws")

    def candidates(self, index: int) -> Iterator[Scene]:
        """Scene ``index`` and the scenes that replace it while they are not usable."""
        return (self.sample(index, sub_seed) for sub_seed in range(MAX_SUB_SEEDS))


def _any_scene(rng: np.random.Generator, status: str) -> Scene | None:
    """A scene of the whole range, or ``None`` where no camera sees the dog."""
    room = sample_room(rng)
    fur = sample_fur(rng)
    spot = free_spot(room, rng)
    camera = spot and _public_camera(room, spot, rng)
    if spot is None or camera is None:
        return None
    lights, ambient = sample_lights(room, rng)
    return Scene(
        room=room,
        things=sample_things(status, spot, rng),
        lights=lights,
        ambient=ambient,
        camera=camera,
        fur=fur,
        pose=sample_pose(status, rng),
        dog_xy=spot,
        yaw_deg=float(rng.uniform(0, 360)),
        identity=str(rng.choice(IDENTITIES)),
    )


def sample_fur(rng: np.random.Generator) -> Fur:
    """A random fur of one or two colours."""
    words = [str(w) for w in rng.permutation(list(FURS))[:2]]
    solid = rng.random() < 0.3
    pattern = "solid" if solid else str(rng.choice(PATTERNS))
    jitter = rng.uniform(0.82, 1.2, size=2)
    base, second = (_tint(FURS[w], float(j), rng) for w, j in zip(words, jitter, strict=True))
    return Fur(
        word=words[0] if solid else " and ".join(words),
        base=base,
        second=second,
        pattern=pattern,
        seed=int(rng.integers(2**31)),
        line=float(rng.uniform(0.2, 0.9)),
        rough=float(rng.uniform(0.05, 0.4)),
    )


def _tint(rgb: RGB, gain: float, rng: np.random.Generator) -> RGB:
    r, g, b = (float(np.clip(c * gain + rng.uniform(-0.03, 0.03), 0.03, 0.97)) for c in rgb)
    return (r, g, b)


def free_spot(room: Room, rng: np.random.Generator) -> tuple[float, float] | None:
    """A place on the floor with 0.5 m around it free of furniture."""
    for _ in range(30):
        x = float(rng.uniform(-0.3, 0.3) * room.width_m)
        y = float(rng.uniform(-0.25, 0.25) * room.depth_m)
        if all(_distance(x, y, box) > 0.5 for box in room.blocked):
            return x, y
    return None


def _distance(x: float, y: float, box: tuple[float, float, float, float, float]) -> float:
    dx, dy = max(box[0] - x, 0.0, x - box[2]), max(box[1] - y, 0.0, y - box[3])
    return math.hypot(dx, dy)


def _public_camera(
    room: Room, spot: tuple[float, float], rng: np.random.Generator
) -> Camera | None:
    """A camera in the room that sees the dog, mostly at eye level, rarely from a shelf."""
    for _ in range(40):
        steep = rng.random() < 0.06
        elevation = math.radians(rng.uniform(38, 62) if steep else rng.triangular(4, 12, 40))
        fov = float(rng.uniform(42, 68))
        reach = float(rng.uniform(0.62, 1.05)) / math.tan(math.radians(fov / 2)) + 0.15
        turn = math.radians(rng.uniform(-75, 75))
        across = reach * math.cos(elevation)
        x, y = spot[0] + across * math.sin(turn), spot[1] - across * math.cos(turn)
        z = 0.25 + reach * math.sin(elevation)
        if _sees(room, (x, y, z), spot):
            aim = (
                spot[0] + float(rng.uniform(-0.15, 0.15)),
                spot[1],
                float(rng.uniform(0.25, 0.5)),
            )
            return Camera((x, y, z), aim, fov)
    return None


def _sees(room: Room, eye: Vec3, spot: tuple[float, float]) -> bool:
    """Whether the camera is inside the room and furniture neither holds nor hides it."""
    x, y, z = eye
    if abs(x) > room.width_m / 2 - 0.12 or abs(y) > room.depth_m / 2 - 0.12 or z > 2.35:
        return False
    for t in np.linspace(0, 0.9, 10):
        px, py = x + (spot[0] - x) * t, y + (spot[1] - y) * t
        pz = z + (0.3 - z) * t
        if any(_distance(px, py, box) < 0.12 and pz < box[4] + 0.1 for box in room.blocked):
            return False
    return True


def sample_lights(room: Room, rng: np.random.Generator) -> tuple[tuple[Light, ...], RGB]:
    """A main light with a shadow, a fill light, and the ambient light."""
    level = float(rng.uniform(0.85, 1.35))
    warm = float(rng.uniform(-0.09, 0.12))
    tone = np.array([1 + warm, 1.0, 1 - warm])
    main, fill = float(rng.uniform(0.4, 0.7)), float(rng.uniform(0.15, 0.3))
    ambient = max(0.28, 1.08 - main - fill * 0.8) * level
    x, y = (float(rng.uniform(-0.4, 0.4)) * s for s in (room.width_m, room.depth_m))
    goal = (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.3, 0.8)), 0.0)
    lights = (
        Light((x, y, 2.4), goal, _rgb(tone * main * level), shadow=True, exponent=0.5),
        Light((-x, -y, 2.2), (0.0, 0.5, 0.8), _rgb(tone * fill * level), shadow=False),
    )
    return lights, _rgb(tone * ambient)


def _rgb(values: np.ndarray) -> RGB:
    r, g, b = (float(v) for v in values)
    return (r, g, b)


def sample_things(
    status: str, spot: tuple[float, float], rng: np.random.Generator
) -> tuple[Part, ...]:
    """A bowl where the dog eats, a ball where it plays; either may lie about elsewhere too."""
    things: list[Part] = []
    if status == "eating" or rng.random() < 0.2:
        things += _bowl(rng, None if status == "eating" else _beside(spot, rng))
    if status == "playing" or rng.random() < 0.2:
        things.append(_ball(rng, spot))
    return tuple(things)


def _beside(spot: tuple[float, float], rng: np.random.Generator) -> tuple[float, float]:
    angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.0)
    return spot[0] + float(reach * math.cos(angle)), spot[1] + float(reach * math.sin(angle))


def _bowl(rng: np.random.Generator, at: tuple[float, float] | None) -> list[Part]:
    rgb: RGB = (float(rng.uniform(0.2, 0.9)), float(rng.uniform(0.2, 0.9)), 0.5)
    x, y = at or (0.0, 0.0)
    mouth, radius = at is None, float(rng.uniform(0.09, 0.13))
    food = (0.4, 0.26, 0.15)
    return [
        Part("cylinder", (radius, 0.03, 0.0), (x, y, 0.03), rgb, at_mouth=mouth),
        Part("cylinder", (radius * 0.82, 0.002, 0.0), (x, y, 0.061), food, at_mouth=mouth),
    ]


def _ball(rng: np.random.Generator, spot: tuple[float, float]) -> Part:
    radius = float(rng.uniform(0.035, 0.09))
    x, y = _beside(spot, rng)
    rgb: RGB = (float(rng.uniform(0.5, 0.95)), float(rng.uniform(0.2, 0.95)), 0.2)
    return Part("sphere", (radius, 0.0, 0.0), (x, y, radius), rgb)
