"""How the dog holds itself: joint angles of each status, drawn from broad distributions.

Angles are in degrees, in the joint names of dm_control's dog. A pose says nothing about where the
dog stands; the renderer puts it on the floor and, where ``level`` is set, pitches it until fore
and hind limbs both touch the ground.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STATUSES = ("eating", "sitting", "sleeping", "playing")

_NECK = ("C_7_extend", "C_5_extend", "C_3_extend", "C_1_extend")
_NECK_BEND = ("C_7_bend", "C_5_bend", "C_3_bend", "C_1_bend")
_BACK = ("L_1_extend", "L_3_extend", "L_5_extend", "L_7_extend")
_BACK_BEND = ("L_1_bend", "L_3_bend", "L_5_bend", "L_7_bend")
_TAIL_UP = tuple(f"Ca_{i}_extend" for i in range(1, 22, 2))
_TAIL_BEND = tuple(f"Ca_{i}_bend" for i in range(2, 21, 2))


@dataclass(frozen=True)
class DogPose:
    """One posture: ``joints`` holds (joint name, degrees); pitch is nose-down positive."""

    status: str
    joints: tuple[tuple[str, float], ...]
    pitch_deg: float
    roll_deg: float
    level: bool
    lift_m: float = 0.0


class _Draw:
    """Collects joint angles; every number is drawn uniformly from the range that is given."""

    def __init__(self, rng: np.random.Generator, spread: float) -> None:
        self.rng = rng
        self.spread = spread
        self.joints: dict[str, float] = {}

    def between(self, low: float, high: float) -> float:
        """A number in ``[low, high]``, drawn nearer to the middle when spread is below 1."""
        middle, half = (low + high) / 2, (high - low) / 2 * self.spread
        return float(self.rng.uniform(middle - half, middle + half))

    def set(self, low: float, high: float, *names: str) -> None:
        """The same angle for all of ``names``."""
        value = self.between(low, high)
        for name in names:
            self.joints[name] = value

    def both(self, stem: str, low: float, high: float, differ: float = 6.0) -> None:
        """Left and right joints alike, up to ``differ`` degrees; ``stem`` holds ``{}`` for L/R."""
        value = self.between(low, high)
        for side in "LR":
            self.joints[stem.format(side)] = value + self.between(-differ, differ)


def sample_pose(status: str, rng: np.random.Generator, *, spread: float = 1.0) -> DogPose:
    """A random posture of ``status``."""
    if status not in _POSES:
        raise ValueError(f"no pose for status {status!r}; known: {', '.join(STATUSES)}")
    draw = _Draw(rng, spread)
    draw.set(-25, 25, *_TAIL_BEND)
    return _POSES[status](draw)


def _pose(draw: _Draw, status: str, pitch: float, **rest: float | bool) -> DogPose:
    return DogPose(
        status,
        tuple(sorted(draw.joints.items())),
        pitch_deg=pitch,
        roll_deg=float(rest.get("roll", 0.0)),
        level=bool(rest.get("level", False)),
        lift_m=float(rest.get("lift", 0.0)),
    )


def _eating(draw: _Draw) -> DogPose:
    """On four legs, neck and head down to the bowl."""
    draw.set(46, 61, "C_7_extend", "C_5_extend")
    draw.set(-6, 18, "C_3_extend", "C_1_extend")
    draw.set(-8, 8, *_NECK_BEND)
    draw.set(-8, 24, "atlas")
    draw.set(-2, 18, "mandible")
    draw.set(-5, 4, *_BACK)
    draw.set(-6, 6, *_BACK_BEND)
    draw.set(-15, 6, *_TAIL_UP)
    draw.both("hip_{}_extend", -14, 4, 7)
    draw.both("knee_{}", -14, 0, 5)
    draw.both("ankle_{}", -8, 8, 5)
    crouch = draw.between(0, 1)
    draw.both("scapula_{}_extend", -6, 6, 5)
    draw.both("shoulder_{}_extend", 4 + 20 * crouch, 12 + 34 * crouch, 6)
    draw.both("elbow_{}", -16 - 40 * crouch, -8 - 34 * crouch, 6)
    return _pose(draw, "eating", draw.between(8, 16), level=True)


def _sitting(draw: _Draw) -> DogPose:
    """Rump and hind feet on the floor, chest up, fore legs straight.

    Hind limbs are set by where thigh, shank and foot should point in the room.
    """
    pitch = draw.between(-52, -40)
    bend = draw.between(-10, -2)
    for name in _BACK:
        draw.joints[name] = bend
    draw.set(2, 15, *_NECK)
    draw.set(-20, 20, *_NECK_BEND)
    draw.set(-15, 22, "atlas")
    draw.set(-10, 18, "mandible")
    draw.set(-5, 5, *_BACK_BEND)
    draw.set(4, 12, *_TAIL_UP)
    thigh, shank = draw.between(-104, -84), draw.between(2, 14)
    for side in "LR":
        tilt = draw.between(-4, 4)
        draw.joints[f"hip_{side}_extend"] = thigh + tilt - (pitch + 4 * bend)
        draw.joints[f"knee_{side}"] = thigh + tilt - shank
        draw.joints[f"ankle_{side}"] = -90 - shank
    draw.both("hip_{}_abduct", 4, 24, 5)
    draw.both("scapula_{}_extend", 8, 24, 4)
    draw.both("shoulder_{}_extend", 6, 20, 6)
    draw.both("elbow_{}", 2, 14, 5)
    return _pose(draw, "sitting", pitch, level=True)


def _sleeping(draw: _Draw) -> DogPose:
    """On its side, loosely or curled into a ring, or flat on its belly."""
    draw.set(-10, 14, *_TAIL_UP)
    if draw.rng.random() < 0.25:
        return _prone(draw)
    curl = draw.between(0.15, 1)
    side = 1.0 if draw.rng.random() < 0.5 else -1.0
    draw.set(12 + 16 * curl, 22 + 24 * curl, *_NECK)
    draw.set(-8, 8, *_NECK_BEND)
    draw.set(-15, 5, "atlas")
    draw.set(-8 - 16 * curl, -2 - 14 * curl, *_BACK)
    draw.set(-4, 4, *_BACK_BEND)
    draw.both("hip_{}_extend", -50 - 45 * curl, -22 - 40 * curl, 14)
    draw.both("knee_{}", -80 - 30 * curl, -30 - 45 * curl, 12)
    draw.both("ankle_{}", -45, -5, 12)
    draw.both("shoulder_{}_extend", -30, 25, 14)
    draw.both("elbow_{}", -65 - 25 * curl, -20 - 30 * curl, 15)
    draw.both("wrist_{}", -60, -10, 12)
    return _pose(draw, "sleeping", 0.0, roll=side * draw.between(74, 96))


def _prone(draw: _Draw) -> DogPose:
    """Flat on the belly, legs folded under, chin on the floor."""
    draw.set(24, 34, *_NECK)
    draw.set(-22, 22, *_NECK_BEND)
    draw.set(5, 30, "atlas")
    draw.set(-6, 2, *_BACK)
    draw.set(-16, 16, *_BACK_BEND)
    draw.both("hip_{}_extend", -95, -75, 6)
    draw.both("hip_{}_abduct", 5, 35, 8)
    draw.both("knee_{}", -118, -100, 4)
    draw.both("ankle_{}", -98, -80, 4)
    draw.both("scapula_{}_extend", -16, 4, 5)
    draw.both("shoulder_{}_extend", -4, 22, 6)
    draw.both("elbow_{}", -98, -82, 5)
    draw.both("wrist_{}", -10, 8, 4)
    return _pose(draw, "sleeping", draw.between(2, 9), roll=draw.between(-8, 8))


def _playing(draw: _Draw) -> DogPose:
    """A play bow, a rear on the hind legs, or a leap."""
    kind = draw.rng.choice(3, p=(0.4, 0.3, 0.3))
    draw.set(6, 15, *_TAIL_UP)
    draw.set(5, 20, "mandible")
    return (_bow, _rear, _leap)[kind](draw)


def _bow(draw: _Draw) -> DogPose:
    """Elbows down, rump high."""
    draw.set(-12, 2, *_NECK)
    draw.set(-12, 12, *_NECK_BEND)
    draw.set(0, 28, "atlas")
    draw.set(-4, 9, *_BACK)
    draw.both("hip_{}_extend", -40, -18, 6)
    draw.both("knee_{}", -16, 4, 6)
    draw.both("ankle_{}", -6, 12, 6)
    draw.both("scapula_{}_extend", -28, -12, 5)
    draw.both("shoulder_{}_extend", -38, -18, 8)
    draw.both("elbow_{}", -74, -40, 8)
    draw.both("wrist_{}", -12, 8, 6)
    return _pose(draw, "playing", draw.between(22, 32), level=True)


def _rear(draw: _Draw) -> DogPose:
    """Upright on the hind legs, fore legs in the air."""
    pitch = draw.between(-72, -48)
    draw.set(0, 14, *_NECK)
    draw.set(-14, 14, *_NECK_BEND)
    draw.set(0, 24, "atlas")
    draw.set(-10, 4, *_BACK)
    draw.both("hip_{}_extend", 10, 38, 10)
    draw.both("knee_{}", -50, -12, 10)
    draw.both("ankle_{}", -30, 6, 8)
    draw.both("shoulder_{}_extend", -38, 8, 18)
    draw.both("elbow_{}", -95, -45, 18)
    draw.both("wrist_{}", -70, -20, 14)
    return _pose(draw, "playing", pitch)


def _leap(draw: _Draw) -> DogPose:
    """In the air, fore legs reaching forward and hind legs stretched back."""
    draw.set(-10, 12, *_NECK)
    draw.set(-14, 14, *_NECK_BEND)
    draw.set(0, 22, "atlas")
    draw.set(-8, 6, *_BACK)
    draw.both("hip_{}_extend", 14, 48, 10)
    draw.both("knee_{}", -40, 4, 10)
    draw.both("ankle_{}", -10, 16, 8)
    draw.both("scapula_{}_extend", -28, -10, 6)
    draw.both("shoulder_{}_extend", -40, -18, 10)
    draw.both("elbow_{}", -70, -5, 16)
    draw.both("wrist_{}", -60, -5, 12)
    return _pose(draw, "playing", draw.between(-38, -8), lift=draw.between(0.04, 0.25))


_POSES = {"eating": _eating, "sitting": _sitting, "sleeping": _sleeping, "playing": _playing}
