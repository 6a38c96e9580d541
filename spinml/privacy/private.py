"""Privacy as a type (design rule 1): what may never leave the device cannot be serialised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn, SupportsIndex

import numpy as np
import numpy.typing as npt

from spinml.images import Mask, Photo

Keypoints = npt.NDArray[np.float32]
"""A person's 18 keypoints in OpenPose's order, shape ``(18, 3)``: x and y in pixels, confidence in
[0, 1]. The order: nose, neck, right shoulder, elbow, wrist, left shoulder, elbow, wrist, right hip,
knee, ankle, left hip, knee, ankle, right eye, left eye, right ear, left ear."""


class DeviceOnly:
    """Base of all that stays on the device: pickling it, in whatever way, raises TypeError.

    JSON and pydantic refuse it by themselves, for they know only the types they were taught.
    """

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} stays on the device and cannot be serialised; "
            "spinml.privacy.sanitizer.sanitize() makes what may travel"
        )


class PrivatePhoto(DeviceOnly):
    """A camera photo. Shows its shape, never its pixels, and cannot be serialised."""

    __slots__ = ("_pixels",)

    def __init__(self, pixels: Photo):
        self._pixels = pixels

    @property
    def pixels(self) -> Photo:
        """The photo, RGB, shape ``(H, W, 3)``."""
        return self._pixels

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` in pixels."""
        return self._pixels.shape[1], self._pixels.shape[0]

    def __repr__(self) -> str:
        width, height = self.size
        return f"PrivatePhoto({width} x {height})"


@dataclass(frozen=True, repr=False)
class SegmentedPhoto(DeviceOnly):
    """A photo and where its target objects are; the background is all the rest (§3.2).

    Raises:
        ValueError: a mask is not as large as the photo, or ``keypoints`` are not (18, 3).
    """

    photo: PrivatePhoto
    masks: Mapping[str, Mask]
    """By segment, "target", "target_2", …: shape ``(H, W)``, True on the object. An empty mask
    says that the object is not on the photo; without one, that it was not found."""
    keypoints: Keypoints | None = None
    """A person's, in pixels of the photo, where they were given: those of the target object whose
    feature is the pose."""

    def __post_init__(self) -> None:
        wanted = self.photo.pixels.shape[:2]
        for mask in self.masks.values():
            if mask.shape != wanted:
                raise ValueError(f"a mask of shape {mask.shape} for a photo of {wanted}")
        if self.keypoints is not None and self.keypoints.shape != (18, 3):
            raise ValueError(f"keypoints of shape {self.keypoints.shape}, wanted (18, 3)")

    def __repr__(self) -> str:
        shares = ", ".join(f"{name} on {mask.mean():.0%}" for name, mask in self.masks.items())
        return f"SegmentedPhoto({self.photo!r}, {shares or 'nothing found'})"
