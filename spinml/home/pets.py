"""Public pet scenes: any dog with any fur, its bowl and ball, and cameras that see it."""

from __future__ import annotations

import math

import numpy as np

from spinml.home.captions import IDENTITIES
from spinml.home.lights import sample_lights
from spinml.home.poses import sample_pose
from spinml.home.rooms import distance, free_spot, sample_room
from spinml.home.scenes import RGB, Camera, Dog, Fur, Part, Room, Scene, Vec3

FURS: dict[str, RGB] = {
    "black": (0.12, 0.115, 0.115), "white": (0.93, 0.91, 0.87), "grey": (0.42, 0.42, 0.43),
    "brown": (0.36, 0.22, 0.12), "golden": (0.78, 0.55, 0.28), "red": (0.55, 0.25, 0.1),
    "cream": (0.88, 0.78, 0.6),
}  # fmt: skip
PATTERNS = ("belly", "patches", "spots", "saddle", "socks", "brindle", "brindle")


def any_pet_scene(rng: np.random.Generator, status: str) -> Scene | None:
    """A dog anywhere on the floor of any room, or ``None`` where no camera sees the dog."""
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
        subjects=(Dog(fur, sample_pose(status, rng), spot, float(rng.uniform(0, 360))),),
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


def _public_camera(
    room: Room, spot: tuple[float, float], rng: np.random.Generator
) -> Camera | None:
    """A camera in the room that sees the dog, at its eye level or, a third of all, from a shelf."""
    for _ in range(40):
        elevation = math.radians(_elevation_deg(rng))
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


def _elevation_deg(rng: np.random.Generator) -> float:
    """How far a camera looks down: from a shelf 25 to 45 degrees, rarely more, else near level."""
    kind = rng.choice(3, p=(0.34, 0.04, 0.62))
    if kind == 2:
        return float(rng.triangular(4, 10, 25))
    return float(rng.uniform(*((25, 45), (45, 62))[kind]))


def _sees(room: Room, eye: Vec3, spot: tuple[float, float]) -> bool:
    """Whether the camera is inside the room and furniture neither holds nor hides it."""
    x, y, z = eye
    if abs(x) > room.width_m / 2 - 0.12 or abs(y) > room.depth_m / 2 - 0.12 or z > 2.35:
        return False
    for t in np.linspace(0, 0.9, 10):
        px, py = x + (spot[0] - x) * t, y + (spot[1] - y) * t
        pz = z + (0.3 - z) * t
        if any(distance(px, py, box) < 0.12 and pz < box[4] + 0.1 for box in room.blocked):
            return False
    return True


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
