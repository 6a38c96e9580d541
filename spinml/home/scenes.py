"""What is to be seen: one frozen ``Scene`` holds every parameter of a picture.

Three tasks: a pet, a person, and a pill bottle beside a photo frame. What a task is about are the
scene's ``subjects``, the target object first; each gets a mask of its own. Two worlds that never
mix: the public world is what the bundled checkpoint is trained on, a private home is one subject in
one room that the public sampler leaves out (:func:`is_private`). Scene ``i`` of a world depends on
its seed and ``i`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from spinml.home.poses import DogPose

RGB = tuple[float, float, float]
Vec3 = tuple[float, float, float]
Quat = tuple[float, float, float, float]
UPRIGHT: Quat = (1.0, 0.0, 0.0, 0.0)

PRIVATE_FURS = (frozenset(("grey", "white")),)
PRIVATE_OUTFITS = (("red", "beige"),)
"""Colours of top and trousers."""
PRIVATE_BOTTLES = (("orange", "blue"),)
"""Colours of the bottle and of the band on its label."""
PRIVATE_ROOMS = (("bedroom", "purple"), ("living room", "orange"))


@dataclass(frozen=True)
class Part:
    """One primitive of the room: ``size`` holds MuJoCo half sizes in metres."""

    shape: str
    size: Vec3
    pos: Vec3
    rgb: RGB
    texture: str = "plain"
    quat: Quat = UPRIGHT
    repeat: tuple[float, float] = (1.0, 1.0)
    at_mouth: bool = False
    """Whether ``pos`` counts from below the dog's mouth."""


@dataclass(frozen=True)
class Fur:
    """Two colours and how they are spread over the dog; ``word`` is said in captions."""

    word: str
    base: RGB
    second: RGB
    pattern: str
    seed: int
    line: float = 0.5
    rough: float = 0.1

    @property
    def colours(self) -> frozenset[str]:
        """The colour words of the fur."""
        return frozenset(self.word.split(" and "))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; ``fov_deg`` is the vertical field of view."""

    pos: Vec3
    look_at: Vec3
    fov_deg: float


@dataclass(frozen=True)
class Light:
    """A spot light; intensities are colours in 0..1."""

    pos: Vec3
    look_at: Vec3
    diffuse: RGB
    shadow: bool
    cutoff_deg: float = 80.0
    exponent: float = 1.0


@dataclass(frozen=True)
class Room:
    """A room without its subjects; words are said in captions."""

    kind: str
    wall_word: str
    floor_word: str
    parts: tuple[Part, ...]
    width_m: float
    depth_m: float
    blocked: tuple[tuple[float, float, float, float, float], ...]
    """Footprints ``(x0, y0, x1, y1, height)`` of the furniture, in metres."""


@dataclass(frozen=True)
class Dog:
    """A dog on the floor at ``xy``, turned by ``yaw_deg``."""

    fur: Fur
    pose: DogPose
    xy: tuple[float, float]
    yaw_deg: float
    name: ClassVar[str] = "dog"

    @property
    def label(self) -> str:
        """What the dog is doing."""
        return self.pose.status

    @property
    def private(self) -> bool:
        """Whether this dog is kept for private homes."""
        return is_private_fur(self.fur)


@dataclass(frozen=True)
class Outfit:
    """How a person looks: ``top_word`` and ``legs_word`` are the clothes' colours in captions."""

    top_word: str
    legs_word: str
    top: RGB
    legs: RGB
    shoes: RGB
    skin: RGB
    hair: RGB
    hair_style: str
    pattern: str
    long_sleeves: bool
    glasses: bool
    girth: float
    """Width of body and limbs over the usual one."""
    seed: int


@dataclass(frozen=True)
class Posture:
    """How a person holds itself, in its own frame: x ahead, y left, z up from the floor, metres.

    Attributes:
        activity: what the person is doing.
        points: name and place of each joint; see :mod:`spinml.home.postures`.
        head_ahead, head_up: where the face looks and where the crown is, unit vectors.
    """

    activity: str
    points: tuple[tuple[str, Vec3], ...]
    head_ahead: Vec3
    head_up: Vec3


@dataclass(frozen=True)
class Person:
    """A person at ``xy``, facing ``yaw_deg``; ``held`` things, in its own frame, belong to it."""

    outfit: Outfit
    posture: Posture
    held: tuple[Part, ...]
    xy: tuple[float, float]
    yaw_deg: float
    name: ClassVar[str] = "person"

    @property
    def label(self) -> str:
        """What the person is doing."""
        return self.posture.activity

    @property
    def private(self) -> bool:
        """Whether this person is kept for private homes."""
        return (self.outfit.top_word, self.outfit.legs_word) in PRIVATE_OUTFITS


@dataclass(frozen=True)
class BottleLook:
    """A pill bottle's colours and its label's print, which follows from ``seed``."""

    word: str
    band_word: str
    body: RGB
    band: RGB
    cap: RGB
    seed: int
    radius_m: float
    height_m: float


@dataclass(frozen=True)
class Bottle:
    """A pill bottle: the middle of its foot at ``pos``, its axis and label turned by ``quat``."""

    look: BottleLook
    pos: Vec3
    quat: Quat
    name: ClassVar[str] = "bottle"
    label: ClassVar[str] = "bottle"

    @property
    def private(self) -> bool:
        """Whether this bottle is kept for private homes."""
        return (self.look.word, self.look.band_word) in PRIVATE_BOTTLES


@dataclass(frozen=True)
class PhotoFrame:
    """A picture in a frame, built of parts in the room's frame, that looks towards ``yaw_deg``."""

    parts: tuple[Part, ...]
    yaw_deg: float
    name: ClassVar[str] = "frame"
    label: ClassVar[str] = "frame"
    private: ClassVar[bool] = False


Subject = Dog | Person | Bottle | PhotoFrame


@dataclass(frozen=True)
class Scene:
    """All parameters of one picture."""

    room: Room
    things: tuple[Part, ...]
    """What belongs to a subject without being it, as bowl, ball or plate: it goes with it."""
    lights: tuple[Light, ...]
    ambient: RGB
    camera: Camera
    subjects: tuple[Subject, ...]
    """The target object first; at most one of each kind."""
    identity: str

    @property
    def target(self) -> Subject:
        """The target object."""
        return self.subjects[0]

    @property
    def label(self) -> str:
        """The target object's class."""
        return self.target.label


def is_private(scene: Scene) -> bool:
    """Whether the scene shows a subject or a room that is kept for private homes."""
    return any(subject.private for subject in scene.subjects) or is_private_room(
        scene.room.kind, scene.room.wall_word
    )


def is_private_fur(fur: Fur) -> bool:
    """Whether the fur is kept for private homes: by its colours, whatever its pattern."""
    return fur.colours in PRIVATE_FURS


def is_private_room(kind: str, wall_word: str) -> bool:
    """Whether the room is kept for private homes."""
    return (kind, wall_word) in PRIVATE_ROOMS
