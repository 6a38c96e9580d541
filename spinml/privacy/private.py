"""Privacy as a type (design rule 1): what may never leave the device cannot be serialised."""

from __future__ import annotations

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
    """A photo and where its target object is; the background is all the rest (§3.2).

    Raises:
        ValueError: ``target_mask`` is not as large as the photo, or ``keypoints`` are not (18, 3).
    """

    photo: PrivatePhoto
    target_mask: Mask
    """Shape ``(H, W)``; True on the target object."""
    keypoints: Keypoints | None = None
    """The target object's, in pixels of the photo, where they were given."""

    def __post_init__(self) -> None:
        wanted = self.photo.pixels.shape[:2]
        if self.target_mask.shape != wanted:
            raise ValueError(f"a mask of shape {self.target_mask.shape} for a photo of {wanted}")
        if self.keypoints is not None and self.keypoints.shape != (18, 3):
            raise ValueError(f"keypoints of shape {self.keypoints.shape}, wanted (18, 3)")

    def __repr__(self) -> str:
        return f"SegmentedPhoto({self.photo!r}, target on {self.target_mask.mean():.0%})"
