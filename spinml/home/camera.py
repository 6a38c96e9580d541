"""Takes the photos of a private home: renders its scenes and writes the photo set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from spinml.home.photos import (
    JPEG_QUALITY,
    NOISE_STD,
    PHOTO_PX,
    HomeRecord,
    expose,
    write_photo,
)
from spinml.home.poses import STATUSES
from spinml.home.private import PrivateHome
from spinml.home.scenes import Scene
from spinml.home.shards import usable

if TYPE_CHECKING:
    from spinml.home.renderer import Renderer

SUPERSAMPLE = 2


@dataclass(frozen=True)
class Shot:
    """One photo with its truth: ``image`` ``(h, w, 3)``, ``mask`` ``(h, w)``."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    status: str


def shoot(renderer: Renderer, home: PrivateHome, stream: str, index: int) -> Shot:
    """Photo ``index`` of the home; ``stream`` is "reference", "test" or "training"."""
    scenes: Iterator[Scene] = getattr(home, stream)(index)
    for scene in scenes:
        frame = renderer.render(scene)
        if usable(frame.mask):
            code = ("reference", "test", "training").index(stream)
            rng = np.random.default_rng([home.seed, 9, code, index])
            return Shot(expose(frame.image, rng), frame.mask, scene.status)
    raise RuntimeError(f"home {home.name!r}: {stream} photo {index} never showed the dog well")


def write_reference(renderer: Renderer, home: PrivateHome, folder: Path, index: int) -> None:
    """Write one reference photo and its mask."""
    shot = shoot(renderer, home, "reference", index)
    write_photo(folder / "references" / f"ref_{index:02d}.jpg", shot.image)
    masks = folder / "references_masks"
    masks.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(masks / f"ref_{index:02d}.png"), shot.mask.astype(np.uint8) * 255)


def write_test(renderer: Renderer, home: PrivateHome, folder: Path, index: int) -> None:
    """Write one labelled test photo."""
    shot = shoot(renderer, home, "test", index)
    name = f"photo_{index // len(STATUSES):03d}.jpg"
    write_photo(folder / "test" / shot.status / name, shot.image)


def record_of(home: PrivateHome, references: int, test: int, size_px: int = PHOTO_PX) -> HomeRecord:
    """What ``home.json`` holds."""
    fur, room = home.fur, home.room
    return HomeRecord(
        name=home.name,
        seed=home.seed,
        target_object="dog",
        background=room.kind,
        label_classes=STATUSES,
        references=references,
        test=test,
        size_px=size_px,
        jpeg_quality=JPEG_QUALITY,
        noise_std=NOISE_STD,
        description=(
            f"a {fur.word} dog ({fur.pattern}) in a {room.kind} with {room.wall_word} walls and a "
            f"{room.floor_word} floor, seen from {len(home.cameras)} cameras on shelves"
        ),
    )
