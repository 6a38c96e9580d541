"""Light of a scene: in the public world anything, in a private home three moods."""

from __future__ import annotations

import numpy as np

from spinml.home.scenes import RGB, Light, Room


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


def moody_lights(room: Room, rng: np.random.Generator) -> tuple[tuple[Light, ...], RGB]:
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
