"""Takes the photos of a private home: renders its scenes and writes the photo set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spinml.home.captions import NOUNS
from spinml.home.photos import (
    JPEG_QUALITY,
    NOISE_STD,
    PHOTO_PX,
    HomeRecord,
    expose,
    write_boxes,
    write_keypoints,
    write_mask,
    write_names,
    write_photo,
    write_record,
)
from spinml.home.private import STREAMS, PrivateHome
from spinml.home.tasks import task
from spinml.home.usable import shown, usable

if TYPE_CHECKING:
    from spinml.home.renderer import Renderer

SUPERSAMPLE = 2


@dataclass(frozen=True)
class Shot:
    """One photo with its truth.

    Attributes:
        image: RGB, shape ``(h, w, 3)``.
        masks: of each subject by name, the target object first, shape ``(h, w)``.
        label: the target's class.
        keypoints: the person's, ``(18, 3)``; ``None`` where there is no person.
    """

    image: NDArray[np.uint8]
    masks: dict[str, NDArray[np.bool_]]
    label: str
    keypoints: NDArray[np.float32] | None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The target object's mask."""
        return next(iter(self.masks.values()))


def shoot(renderer: Renderer, home: PrivateHome, stream: str, index: int) -> Shot:
    """Photo ``index`` of the home; ``stream`` is "reference", "test" or "training"."""
    for scene in home.scenes(stream, index):
        frame = renderer.render(scene)
        if usable(frame, scene.target.name):
            code = list(STREAMS).index(stream)
            rng = np.random.default_rng([home.seed, 9, code, index])
            return Shot(expose(frame.image, rng), frame.masks, scene.label, frame.keypoints)
    raise RuntimeError(f"home {home.name!r}: {stream} photo {index} never showed its target well")


def write_reference(renderer: Renderer, home: PrivateHome, folder: Path, index: int) -> None:
    """Write one reference photo and its truth: masks and, of a person, keypoints."""
    shot, stem = shoot(renderer, home, "reference", index), f"ref_{index:02d}"
    write_photo(folder / "references" / f"{stem}.jpg", shot.image)
    for order, (name, mask) in enumerate(shot.masks.items()):
        if shown(mask):
            write_mask(folder / "references_masks", stem if order == 0 else f"{stem}_{name}", mask)
    if shot.keypoints is not None:
        write_keypoints(folder / "references_keypoints" / f"{stem}.json", shot.keypoints)


def write_test(renderer: Renderer, home: PrivateHome, folder: Path, index: int) -> None:
    """Write one labelled test photo: in its class's folder or, to be detected, with its boxes."""
    shot, of = shoot(renderer, home, "test", index), task(home.task)
    if of.detection:
        stem = f"photo_{index:03d}"
        write_photo(folder / "test" / "images" / f"{stem}.jpg", shot.image)
        boxes = [(of.subjects.index(name), m) for name, m in shot.masks.items() if shown(m)]
        write_boxes(folder / "test" / "labels" / f"{stem}.txt", boxes)
    else:
        name = f"photo_{index // len(of.labels):03d}.jpg"
        write_photo(folder / "test" / shot.label / name, shot.image)


def write_home(
    home: PrivateHome, folder: Path, references: int, test: int, size_px: int = PHOTO_PX
) -> None:
    """Write what is of all photos: ``home.json`` and, for detection, the names of the classes."""
    write_record(folder, record_of(home, references, test, size_px))
    of = task(home.task)
    if of.detection:
        write_names(folder / "test", [NOUNS[name] for name in of.subjects])


def record_of(home: PrivateHome, references: int, test: int, size_px: int = PHOTO_PX) -> HomeRecord:
    """What ``home.json`` holds."""
    of = task(home.task)
    return HomeRecord(
        name=home.name,
        seed=home.seed,
        task=home.task,
        target_object=NOUNS[of.target],
        background=home.room.kind,
        label_classes=of.subjects if of.detection else of.labels,
        references=references,
        test=test,
        size_px=size_px,
        jpeg_quality=JPEG_QUALITY,
        noise_std=NOISE_STD,
        description=home.description,
    )
