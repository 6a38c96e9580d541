"""The one interface of what turns a segment into an image that may leave (§3.2, §7).

L1's features and whole schemes from outside the package (:mod:`spinml.privacy.plugins`) are both
an :class:`Extractor`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from spinml.errors import PreferenceViolationError
from spinml.images import Mask, Photo
from spinml.privacy.private import DeviceOnly, Keypoints

Image = npt.NDArray[np.uint8]
"""Shape ``(H, W)``, ``(H, W, 3)`` or, on arrival at L2, ``(H, W, 4)``."""
Nearness = npt.NDArray[np.float32]
"""Relative inverse depth, shape ``(H, W)``, in any unit: larger is nearer."""


class PoseModel(Protocol):
    """Finds a person's keypoints."""

    def keypoints(self, photo: Photo) -> Keypoints | None:
        """Of the person on ``photo`` ``(H, W, 3)``, in its pixels; None when there is none."""
        ...


class DepthModel(Protocol):
    """Estimates depth from one photo."""

    def nearness(self, photo: Photo) -> Nearness:
        """Of every pixel of ``photo`` ``(H, W, 3)``: shape ``(H, W)``, larger is nearer."""
        ...


@dataclass(frozen=True)
class FeatureModels:
    """The models that some features need; None where the device has none."""

    pose: PoseModel | None = None
    depth: DepthModel | None = None


@dataclass(frozen=True, repr=False)
class SegmentInput(DeviceOnly):
    """One segment of one photo, in the frame in which it would leave. Stays on the device.

    The target object's frame is its square cut-out, black around it. A background's is the photo
    with the target object's place painted over; ``hole`` says where, and whatever is drawn there
    is erased before it leaves.
    """

    segment: str
    """Its name: "target", "target_2", … of the target objects, or "background"."""
    pixels: Photo
    """Shape ``(H, W, 3)``; zero outside ``mask``: nothing of another segment is in it."""
    mask: Mask
    """Shape ``(H, W)``; True where the segment is."""
    hole: Mask
    """Shape ``(H, W)``; True where a background will be erased; nowhere for a target object."""
    box: tuple[int, int, int, int] | None = None
    """The target object's bounding box ``(x0, y0, x1, y1)``, end exclusive; else None."""
    keypoints: Keypoints | None = None
    """The target object's, in pixels of this frame, where they were given."""
    models: FeatureModels = field(default_factory=FeatureModels)

    def __repr__(self) -> str:
        return f"SegmentInput({self.segment}, {self.pixels.shape[1]} x {self.pixels.shape[0]})"


class Extractor(Protocol):
    """One way of turning a segment into an image; a plugin implements this and nothing more.

    At L1 it is a feature: ``extract`` gives a map ``(H, W)`` or ``(H, W, 3)``, uint8, of the size
    of the segment's pixels. As a scheme of L2's pixels (§5.5, §7) it gives ``(H, W, 3)``, uint8,
    in their place; their alpha is kept, and what lies where it is zero is erased.
    """

    name: str
    """What a request calls it; a plugin's entry point has the same name."""

    def extract(self, segment: SegmentInput) -> Image:
        """The image of ``segment``, on the device.

        Raises:
            FeatureMissingError: the segment has no such feature; nothing is sent.
        """
        ...

    def check(self, image: Image) -> None:
        """Return when ``image`` is of this kind; called before sending and on arrival.

        On arrival it is hostile until shown otherwise: any size and number of channels. A scheme
        is given the RGBA image ``(H, W, 4)`` as it was sent.

        Raises:
            PreferenceViolationError: it is something else; says which property failed.
        """
        ...


def not_a_map(name: str, why: str) -> PreferenceViolationError:
    """The error that an image is no map of the feature ``name``."""
    return PreferenceViolationError(
        f"an image is not a {name} map: {why}",
        remedy="send what spinml's sanitizer makes, or declare L2",
    )


def require_channels(name: str, image: Image, wanted: Literal[1, 3]) -> None:
    """Return when ``image`` has ``wanted`` channels.

    Raises:
        PreferenceViolationError: it has not.
    """
    got = 1 if image.ndim == 2 else image.shape[-1]
    if got != wanted:
        raise not_a_map(name, f"it has {got} channels, such a map has {wanted}")


def require_values(name: str, image: Image, wanted: Sequence[int]) -> None:
    """Return when every value of ``image`` is one of ``wanted``.

    Raises:
        PreferenceViolationError: it is not.
    """
    if not np.isin(image, wanted).all():
        raise not_a_map(name, f"it has grey levels other than {', '.join(map(str, wanted))}")
