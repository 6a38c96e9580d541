"""What is to be seen: one frozen ``Scene`` holds every parameter of a picture.

Two worlds that never mix: :class:`PublicWorld` is what the bundled checkpoint is trained on,
:class:`PrivateHome` is one dog in one room that the public sampler leaves out
(:func:`is_private`). Scene ``i`` of a world depends on its seed and ``i`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from spinml.home.poses import DogPose

RGB = tuple[float, float, float]
Vec3 = tuple[float, float, float]
Quat = tuple[float, float, float, float]
UPRIGHT: Quat = (1.0, 0.0, 0.0, 0.0)

PRIVATE_PATTERNS = ("brindle",)
PRIVATE_FURS = (frozenset(("grey", "white")),)
PRIVATE_ROOMS = (("bedroom", "purple"),)


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
    """A room without its dog; words are said in captions."""

    kind: str
    wall_word: str
    floor_word: str
    parts: tuple[Part, ...]
    width_m: float
    depth_m: float
    blocked: tuple[tuple[float, float, float, float, float], ...]
    """Footprints ``(x0, y0, x1, y1, height)`` of the furniture, in metres."""


@dataclass(frozen=True)
class Scene:
    """All parameters of one picture."""

    room: Room
    things: tuple[Part, ...]
    """Bowl and ball: they go when the dog goes."""
    lights: tuple[Light, ...]
    ambient: RGB
    camera: Camera
    fur: Fur
    pose: DogPose
    dog_xy: tuple[float, float]
    yaw_deg: float
    identity: str

    @property
    def status(self) -> str:
        """What the dog is doing."""
        return self.pose.status


def is_private(scene: Scene) -> bool:
    """Whether the scene shows a fur or a room that is kept for private homes."""
    return is_private_fur(scene.fur) or is_private_room(scene.room.kind, scene.room.wall_word)


def is_private_fur(fur: Fur) -> bool:
    """Whether the fur is kept for private homes, by its colours or its pattern."""
    return fur.pattern in PRIVATE_PATTERNS or fur.colours in PRIVATE_FURS


def is_private_room(kind: str, wall_word: str) -> bool:
    """Whether the room is kept for private homes."""
    return (kind, wall_word) in PRIVATE_ROOMS
