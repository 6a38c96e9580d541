"""Real photos, masks and requests that the device's tests share."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import skimage.data

from spinml.images import Mask, Photo
from spinml.privacy.extractor import SegmentInput
from spinml.privacy.private import Keypoints, PrivatePhoto, SegmentedPhoto
from spinml.request import TrainingRequest, parse_request


def request_of(target: str = "L2", background: str = "L0", **more: Any) -> TrainingRequest:
    return parse_request(
        {
            "target_object": "cat",
            "background": "living room",
            "training_objective": "what is my cat doing",
            "label_classes": ["eating", "sleeping"],
            "privacy": {"target": target, "background": background},
            **more,
        }
    )


def two_objects(
    bottle: str = "L2", frame: str = "L1", background: str = "L0", **more: Any
) -> TrainingRequest:
    """A request for two target objects."""
    return parse_request(
        {
            "target_objects": ["pill bottle", "photo frame"],
            "background": "bedroom",
            "training_objective": "is my pill bottle open",
            "label_classes": ["open", "closed"],
            "privacy": {"pill bottle": bottle, "photo frame": frame, "background": background},
            **more,
        }
    )


def left_and_right() -> dict[str, Mask]:
    """Two ellipses side by side in a frame of 640 x 480, by segment."""
    masks = {}
    for name, x in (("target", 170), ("target_2", 450)):
        canvas = np.zeros((480, 640), np.uint8)
        cv2.ellipse(canvas, (x, 260), (70, 110), 10, 0, 360, 1, -1)
        masks[name] = canvas.astype(bool)
    return masks


def cat() -> Photo:
    """scikit-image's cat at 640 x 480."""
    return np.asarray(cv2.resize(skimage.data.chelsea(), (640, 480)), np.uint8)


def ellipse(width: int = 640, height: int = 480, axes: tuple[int, int] = (130, 160)) -> Mask:
    """A slanted ellipse in the middle."""
    canvas = np.zeros((height, width), np.uint8)
    cv2.ellipse(canvas, (width // 2, height // 2), axes, 20, 0, 360, 1, -1)
    return canvas.astype(bool)


def segmented(
    photo: Photo | None = None, mask: Mask | None = None, keypoints: Keypoints | None = None
) -> SegmentedPhoto:
    photo = cat() if photo is None else photo
    mask = ellipse() if mask is None else mask
    return SegmentedPhoto(PrivatePhoto(photo), {"target": mask}, keypoints)


def whole(photo: Photo, **more: Any) -> SegmentInput:
    """A target object that fills its frame; ``more`` are further fields of SegmentInput."""
    everywhere = np.ones(photo.shape[:2], bool)
    fields: dict[str, Any] = {"box": (0, 0, photo.shape[1], photo.shape[0])} | more
    return SegmentInput("target", photo, everywhere, ~everywhere, **fields)


def standing() -> Keypoints:
    """A person who stands in the ellipse, arms raised, seen whole."""
    rows = [
        (320, 180), (320, 220), (280, 220), (255, 190), (250, 150), (360, 220), (385, 190),
        (380, 150), (295, 310), (290, 370), (290, 430), (345, 310), (350, 370), (350, 430),
        (312, 172), (328, 172), (300, 176), (340, 176),
    ]  # fmt: skip
    return np.asarray([(x, y, 0.9) for x, y in rows], np.float32)


def real_photos() -> dict[str, Photo]:
    """Photographs that scikit-image carries."""
    names = ("chelsea", "astronaut", "coffee", "rocket", "retina", "grass", "gravel", "brick")
    grey_or_rgb = {name: np.asarray(getattr(skimage.data, name)()) for name in names}
    return {
        name: np.asarray(np.dstack([p] * 3) if p.ndim == 2 else p[..., :3], np.uint8)
        for name, p in grey_or_rgb.items()
    }
