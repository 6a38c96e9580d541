"""Reference images on disk: as the device sent them (segment), or as a stage drew them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from spinml.errors import ArtifactError
from spinml.images import Photo, encode_png, on_plain_ground
from spinml.preference import BACKGROUND

IMAGES = "images"
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Reference:
    """One reference image.

    Attributes:
        image: RGB, shape ``(px, px, 3)``.
        weight: 1 where the image is to be learned, 0 in a hole; float32 ``(px, px)``.
    """

    image: Photo
    weight: npt.NDArray[np.float32]


def write_images(folder: Path, images: Sequence[Pixels]) -> None:
    """Write ``images/000.png``, ``images/001.png``, … into ``folder``."""
    target = folder / IMAGES
    target.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(images):
        (target / f"{number:03d}.png").write_bytes(encode_png(image))


def read_images(folder: Path) -> list[Pixels]:
    """The images that :func:`write_images` or the ingress wrote: ``(H, W[, 3 or 4])``, in order.

    Raises:
        ArtifactError: there are none.
    """
    paths = sorted((folder / IMAGES).glob("*.png"), key=lambda path: int(path.stem))
    if not paths:
        raise ArtifactError(
            "an artifact of reference images holds no images",
            remedy="delete the artifact; the stage then runs again",
        )
    images = []
    for path in paths:
        with Image.open(path, formats=("PNG",)) as image:
            images.append(np.array(image))
    return images


def prepare_references(images: Sequence[Pixels], segment: str, size_px: int) -> list[Reference]:
    """References of ``segment`` ("target", …, "background") at ``size_px``, ready to learn from.

    A target object's RGBA cut-out goes onto the plain ground. An RGBA background with a hole is
    filled with the mean of what it shows, and the hole has weight 0. RGB images count whole.
    """
    prepare = _background if segment == BACKGROUND else _target
    return [prepare(image, size_px) for image in images]


def _target(image: Pixels, size_px: int) -> Reference:
    whole = on_plain_ground(image) if image.shape[2] == 4 else image
    return Reference(_fit(whole, size_px), np.ones((size_px, size_px), np.float32))


def _background(image: Pixels, size_px: int) -> Reference:
    if image.shape[2] == 3:
        return Reference(_fit(image, size_px), np.ones((size_px, size_px), np.float32))
    colours, seen = image[..., :3], image[..., 3] > 127
    if not seen.any():
        raise ArtifactError("a background reference is transparent everywhere")
    filled = np.where(seen[..., None], colours, colours[seen].mean(axis=0)).astype(np.uint8)
    weight = _fit(seen.astype(np.uint8) * 255, size_px).astype(np.float32) / 255.0
    return Reference(_fit(filled, size_px), (weight > 0.99).astype(np.float32))


def _fit(image: Pixels, size_px: int) -> Pixels:
    """The centred square of ``image``, scaled to ``size_px``."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    method = cv2.INTER_AREA if size_px < side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size_px, size_px), interpolation=method), np.uint8)
