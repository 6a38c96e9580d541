"""How a person holds itself while eating, drinking, walking or reading, and what it holds.

Everything is in the person's own frame: x ahead, y left, z up from the floor, metres. A posture is
drawn as the places that matter (seat, mouth, hands, feet); elbows and knees follow from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spinml.home.geometry import (
    Floats,
    frame,
    matrix_of,
    pitch_matrix,
    quat_of,
    two_bones,
    unit,
    vec3,
    yaw_matrix,
)
from spinml.home.scenes import RGB, Part, Posture, Vec3

ACTIVITIES = ("eating", "drinking", "walking", "reading")
UPPER_ARM_M, FOREARM_M, HAND_M = 0.285, 0.25, 0.15
THIGH_M, SHANK_M, ANKLE_M = 0.42, 0.41, 0.08
SIDES: tuple[tuple[str, float], ...] = (("l", 1.0), ("r", -1.0))
TABLE_EDGE_M, PLATE_M = 0.27, 0.44
"""How far before the person a table begins and its plate stands."""


@dataclass(frozen=True)
class Stand:
    """What the person is on: a seat of ``seat_m`` height or, at 0, its feet; table if not 0."""

    seat_m: float = 0.0
    table_m: float = 0.0


class _Figure:
    """A person while it is posed; lengths are of 1.68 m times ``scale``."""

    def __init__(self, rng: np.random.Generator, scale: float) -> None:
        self.rng, self.scale = rng, scale
        self.points: dict[str, Floats] = {}
        self.head = np.eye(3)

    def between(self, low: float, high: float) -> float:
        """A uniform number."""
        return float(self.rng.uniform(low, high))

    def trunk(self, pelvis: Floats, lean: float, stoop: float, nod: float, look: float) -> None:
        """Spine from the pelvis to the head; degrees: lean and stoop ahead, nod down, look left."""
        s = self.scale
        lower, upper = pitch_matrix(lean) @ (0, 0, 1), pitch_matrix(lean + stoop) @ (0, 0, 1)
        chest = pelvis + 0.25 * s * lower
        collar = chest + 0.24 * s * upper
        twist = yaw_matrix(self.between(-6, 6))
        self.points |= {"pelvis": pelvis, "chest": chest, "collar": collar}
        self.points["neck"] = collar + 0.055 * s * upper
        for side, sign in SIDES:
            self.points[f"{side}_shoulder"] = collar + twist @ (0, 0.185 * s * sign, -0.015 * s)
            self.points[f"{side}_hip"] = pelvis + np.array((0, 0.09 * s * sign, 0))
        self.head = yaw_matrix(look) @ pitch_matrix(nod)
        rise = unit(upper + 0.5 * self.head[:, 2] + 0.15 * self.head[:, 0])
        self.points["head"] = self.points["neck"] + 0.15 * s * rise

    def face(self, ahead: float, left: float, up: float) -> Floats:
        """A place in the head's frame, metres of the usual size."""
        place = self.head @ np.array((ahead, left, up)) * self.scale
        return np.asarray(self.points["head"] + place)

    @property
    def mouth(self) -> Floats:
        """Just before the lips."""
        return self.face(0.105, 0.0, -0.065)

    def arm(self, side: str, grip: Floats, point: Floats, out: float = 0.7) -> None:
        """The hand's middle at ``grip``, fingers along ``point``; ``out`` spreads the elbow."""
        s, sign = self.scale, dict(SIDES)[side]
        root = self.points[f"{side}_shoulder"]
        wrist = grip - 0.5 * HAND_M * s * unit(point)
        elbow, wrist = two_bones(
            root, wrist, UPPER_ARM_M * s, FOREARM_M * s, (-0.5, out * sign, -1.0)
        )
        self.points[f"{side}_elbow"], self.points[f"{side}_wrist"] = elbow, wrist
        self.points[f"{side}_finger"] = wrist + HAND_M * s * unit(point)

    def hang(self, side: str, swing_deg: float) -> None:
        """An arm that hangs, swung ahead."""
        s, sign = self.scale, dict(SIDES)[side]
        a, spread = math.radians(swing_deg), self.between(0.05, 0.12)
        down = unit((math.sin(a), sign * spread, -math.cos(a)))
        bent = unit((math.sin(a + 0.35), sign * spread * 0.5, -math.cos(a + 0.35)))
        root = self.points[f"{side}_shoulder"]
        wrist = root + UPPER_ARM_M * s * down + FOREARM_M * s * bent
        self.arm(side, wrist + 0.5 * HAND_M * s * bent, bent, out=0.2)

    def leg(self, side: str, ankle: Floats, toe_up: float = 0.0) -> None:
        """A foot whose ankle is at ``ankle``, its toes ahead and ``toe_up`` degrees up."""
        s, sign = self.scale, dict(SIDES)[side]
        knee, ankle = two_bones(
            self.points[f"{side}_hip"], ankle, THIGH_M * s, SHANK_M * s, (1.0, 0.12 * sign, 0.1)
        )
        self.points[f"{side}_knee"], self.points[f"{side}_ankle"] = knee, ankle
        ahead = pitch_matrix(-toe_up) @ yaw_matrix(10 * sign) @ (1.0, 0.0, 0.0)
        self.points[f"{side}_toe"] = ankle + s * (0.17 * ahead - np.array((0, 0, ANKLE_M - 0.035)))

    def sit(self, seat_m: float) -> Floats:
        """The pelvis on a seat."""
        return np.array((0.0, 0.0, seat_m + 0.085))

    def sitting_legs(self) -> None:
        """Feet on the floor before the seat."""
        reach = self.between(0.36, 0.5)
        for side, sign in SIDES:
            x, y = reach + self.between(-0.07, 0.07), sign * self.between(0.09, 0.16)
            self.leg(side, np.array((x, y, ANKLE_M * self.scale)))

    def standing_legs(self) -> None:
        """Feet side by side below the pelvis."""
        for side, sign in SIDES:
            x, y = self.between(-0.04, 0.06), sign * self.between(0.08, 0.13)
            self.leg(side, np.array((x, y, ANKLE_M * self.scale)))

    def standing_height(self) -> float:
        """Height of the pelvis above the floor, knees nearly straight."""
        return (0.985 * (THIGH_M + SHANK_M) + ANKLE_M) * self.scale

    def rest(self, side: str, stand: Stand) -> None:
        """The idle arm: on the thigh, on the table, or hanging."""
        sign = dict(SIDES)[side]
        if stand.table_m:
            x, y = self.between(0.33, 0.42), sign * self.between(0.14, 0.24)
            self.arm(
                side,
                np.array((x, y, stand.table_m + 0.04)),
                np.array((1.0, -0.5 * sign, -0.1)),
                out=1.2,
            )
        elif stand.seat_m:
            place = (self.between(0.2, 0.34), sign * 0.13, stand.seat_m + 0.2)
            self.arm(side, np.array(place), np.array((1.0, -0.3 * sign, -0.15)))
        else:
            self.hang(side, self.between(-8, 12))

    def posture(self, activity: str) -> Posture:
        """What was posed."""
        points = tuple((name, vec3(p)) for name, p in sorted(self.points.items()))
        return Posture(activity, points, vec3(self.head[:, 0]), vec3(self.head[:, 2]))


Posed = tuple[Posture, tuple[Part, ...]]


def sample_posture(
    activity: str, stand: Stand, rng: np.random.Generator, *, scale: float = 1.0
) -> Posed:
    """A random posture of ``activity`` and what is held in the hands."""
    if activity not in _POSTURES:
        raise ValueError(f"no posture for {activity!r}; known: {', '.join(ACTIVITIES)}")
    figure = _Figure(rng, scale)
    held = _POSTURES[activity](figure, stand)
    return figure.posture(activity), held


def _settle(fig: _Figure, stand: Stand, lean: float, stoop: float, nod: float) -> None:
    """Trunk and legs, on the seat or on the feet."""
    look = fig.between(-12, 12)
    if stand.seat_m:
        fig.trunk(fig.sit(stand.seat_m), lean, stoop, nod, look)
        fig.sitting_legs()
    else:
        fig.trunk(np.array((0, 0, fig.standing_height())), 0.4 * lean, stoop, nod, look)
        fig.standing_legs()


def _busy_side(fig: _Figure) -> tuple[str, str, float]:
    """The hand that acts, the idle one, and the sign of the first: mostly the right."""
    return ("r", "l", -1.0) if fig.rng.random() < 0.8 else ("l", "r", 1.0)


def _eating(fig: _Figure, stand: Stand) -> tuple[Part, ...]:
    """At a table, a spoon or fork on its way between plate and mouth, mostly at the mouth."""
    _settle(fig, stand, fig.between(2, 14), fig.between(6, 18), fig.between(4, 26))
    busy, idle, sign = _busy_side(fig)
    fig.rest(idle, stand)
    share = fig.between(0.75, 1.0) if fig.rng.random() < 0.75 else fig.between(0.0, 0.45)
    plate = np.array((PLATE_M, 0.0, stand.table_m + 0.06))
    tip = plate + share * (fig.mouth - plate)
    handle = unit((0.75, 0.55 * sign, -0.25 + 0.6 * (1 - share)))
    grip = tip + 0.15 * handle
    fig.arm(busy, grip, unit(np.array((-0.4, -0.5 * sign, 0.5))), out=1.1)
    steel = (0.78, 0.79, 0.82)
    stem = Part("capsule", (0.006, 0.075, 0), vec3(tip + 0.09 * handle), steel,
                quat=quat_of(frame(np.cross(handle, (0.1, 0.2, 1)), handle)))  # fmt: skip
    bowl = Part("ellipsoid", (0.024, 0.017, 0.009), vec3(tip), steel,
                quat=quat_of(frame(handle * (1, 1, 0.2))))  # fmt: skip
    return stem, bowl


def _drinking(fig: _Figure, stand: Stand) -> tuple[Part, ...]:
    """A cup or glass at the mouth, head tipped back."""
    _settle(fig, stand, fig.between(-6, 6), fig.between(0, 10), fig.between(-22, 2))
    busy, idle, sign = _busy_side(fig)
    fig.rest(idle, stand)
    radius, half = fig.between(0.034, 0.043), fig.between(0.042, 0.065)
    tilt = math.radians(fig.between(25, 70))
    ahead, up = fig.head[:, 0], fig.head[:, 2]
    axis = unit(up * math.cos(tilt) - ahead * math.sin(tilt))  # from the foot to the rim
    outward = unit(ahead * math.cos(tilt) + up * math.sin(tilt))
    middle = fig.mouth + radius * outward * 0.9 - (half - 0.012) * axis
    grip = middle + (radius + 0.012) * unit(0.8 * outward + sign * 0.8 * fig.head[:, 1])
    fig.arm(busy, grip, unit(np.array((-0.35, -0.55 * sign, 0.7))), out=1.0)
    rgb: RGB = _cup_colour(fig)
    turn = quat_of(frame(outward, axis))
    cup = Part("cylinder", (radius, half, 0), vec3(middle), rgb, quat=turn)
    drink = Part("cylinder", (radius * 0.86, 0.002, 0), vec3(middle + half * axis),
                 (0.3, 0.2, 0.13), quat=turn)  # fmt: skip
    return cup, drink


def _cup_colour(fig: _Figure) -> RGB:
    if fig.rng.random() < 0.4:
        return (0.93, 0.93, 0.92)
    return (fig.between(0.15, 0.9), fig.between(0.2, 0.8), fig.between(0.2, 0.9))


def _walking(fig: _Figure, stand: Stand) -> tuple[Part, ...]:
    """A step, arms swinging against the legs."""
    s = fig.scale
    stride = fig.between(0.2, 0.34) * s
    phase = (1.0 if fig.rng.random() < 0.5 else -1.0) * fig.between(0.6, 1.0)
    lift = fig.between(0.02, 0.09) * s
    steps = {"l": phase * stride, "r": -phase * stride}
    reach = 0.99 * (THIGH_M + SHANK_M) * s
    raised = {side: ANKLE_M * s + (lift if x < 0 else 0.0) for side, x in steps.items()}
    height = min(raised[k] + math.sqrt(reach**2 - steps[k] ** 2) for k in steps)
    fig.trunk(np.array((0, 0, height)), fig.between(1, 8), fig.between(2, 14),
              fig.between(-2, 16), fig.between(-20, 20))  # fmt: skip
    for side, sign in SIDES:
        ankle = np.array((steps[side], sign * fig.between(0.06, 0.1), raised[side]))
        fig.leg(side, ankle, toe_up=-fig.between(15, 35) if steps[side] < 0 else 12.0)
        fig.hang(side, -phase * sign * fig.between(18, 36))
    return ()


def _reading(fig: _Figure, stand: Stand) -> tuple[Part, ...]:
    """A book or a newspaper in both hands, eyes on it."""
    _settle(fig, stand, fig.between(-8, 6), fig.between(2, 14), fig.between(14, 34))
    paper = fig.rng.random() < 0.35
    a, b = (fig.between(0.15, 0.2), fig.between(0.2, 0.26)) if paper else (
        fig.between(0.08, 0.11), fig.between(0.11, 0.145))  # fmt: skip
    place = np.array((fig.between(0.33, 0.4), 0.0, fig.between(-0.3, -0.12)))
    middle = fig.points["collar"] + place * fig.scale
    gaze = unit(fig.face(0.08, 0, 0.02) - middle)
    turn = frame((0, -1, 0), gaze)  # x to the reader's right, y up the page, z to the eyes
    for side, sign in SIDES:
        corner = middle + turn @ np.array((-sign * a * 0.92, -b * 0.45, -0.012))
        fig.arm(side, corner, unit(np.array((0.55, -0.35 * sign, 0.6))), out=0.9)
    return (_newspaper if paper else _book)(fig, middle, turn, a, b)


def _newspaper(fig: _Figure, middle: Floats, turn: Floats, a: float, b: float) -> tuple[Part, ...]:
    """Two printed sheets at a flat angle."""
    print_name = f"print_{fig.rng.integers(4)}"
    return _leaves(middle, turn, a, b, 14.0, 0.003, (0.9, 0.89, 0.85), print_name)


def _book(fig: _Figure, middle: Floats, turn: Floats, a: float, b: float) -> tuple[Part, ...]:
    """An open book: a cover of any colour, white pages on the reader's side."""
    rgb = (fig.between(0.1, 0.9), fig.between(0.1, 0.7), fig.between(0.1, 0.8))
    cover = _leaves(middle, turn, a, b, 24.0, 0.004, rgb, "plain")
    lifted = middle + turn[:, 2] * 0.009
    name = f"print_{fig.rng.integers(4)}"
    return cover + _leaves(lifted, turn, a * 0.94, b * 0.95, 24.0, 0.006, (0.96, 0.95, 0.92), name)


def _leaves(
    middle: Floats, turn: Floats, a: float, b: float, fold: float, thick: float, rgb: RGB, name: str
) -> tuple[Part, ...]:
    """Left and right leaf, each ``a`` wide and ``2 b`` tall, folded towards the reader."""
    leaves = []
    for sign in (-1.0, 1.0):
        tilt = matrix_of(_about_y(-sign * fold))
        centre: Vec3 = vec3(middle + turn @ (tilt @ np.array((sign * a / 2, 0.0, 0.0))))
        leaves.append(Part("box", (a / 2, b, thick), centre, rgb, name,
                           quat_of(turn @ tilt), repeat=(2.0 / a, 1.0 / b)))  # fmt: skip
    return tuple(leaves)


def _about_y(degrees: float) -> tuple[float, float, float, float]:
    half = math.radians(degrees) / 2
    return (math.cos(half), 0.0, math.sin(half), 0.0)


_POSTURES = {
    "eating": _eating, "drinking": _drinking, "walking": _walking, "reading": _reading,
}  # fmt: skip
