"""Photo sets on disk: what a camera in a private home took, and its reader (no MuJoCo needed).

A set is a folder: ``references/ref_00.jpg`` … without labels, ``references_masks/ref_00.png`` …
(ground truth, for tests), labelled test photos, and ``home.json``, from which
``jobs/render_home.py private`` renders it again.

Pets and people: ``test/<class>/photo_000.jpg`` …; a person's references also have
``references_keypoints/ref_00.json`` in OpenPose's format. Bottles: ``test/images/photo_000.jpg`` …
and, in YOLO's format, ``test/labels/photo_000.txt`` …: a line ``class x y width height`` for each
object that is shown, the class an index in ``label_classes`` and in ``test/data.yaml``, which says
what captions call it, the box's middle and size in shares of the photo's sides; further objects'
masks are ``references_masks/ref_00_frame.png`` ….
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from spinml.images import bounding_box

HomeTask = Literal["pet", "human", "bottle"]
"""The paper's tasks (§4.1), and the names of the shipped homes."""
PHOTO_PX = 320
JPEG_QUALITY = 90
NOISE_STD = 1.6
"""Standard deviation of the sensor noise in 8-bit steps, before gain."""
EXPOSED_MEAN = 115.0
"""The mean level that the automatic exposure aims at."""
GAINS = (0.8, 1.6)
_LARGER_PX = 256
_MOST_VISIBLE = 2
"""A keypoint's visibility that is OpenPose's confidence 1."""


@dataclass(frozen=True)
class HomeRecord:
    """What reproduces a photo set: ``home.json``."""

    name: str
    seed: int
    task: str
    target_object: str
    background: str
    label_classes: tuple[str, ...]
    references: int
    test: int
    size_px: int
    jpeg_quality: int
    noise_std: float
    description: str


@dataclass(frozen=True)
class LabelledBox:
    """An object's box: its middle and size in shares of the photo's sides."""

    label: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class PhotoSet:
    """A photo set on disk."""

    folder: Path

    @property
    def image_px(self) -> int | None:
        """Least side of the synthetic images of its request; None: the server's default.

        A dog fills much of a photo; of a person, the hands are what tells the classes apart.
        """
        return None if self.record.task == "pet" else _LARGER_PX

    @property
    def record(self) -> HomeRecord:
        """What ``home.json`` says."""
        raw = json.loads((self.folder / "home.json").read_text())
        return HomeRecord(**{**raw, "label_classes": tuple(raw["label_classes"])})

    def references(self) -> list[Path]:
        """Unlabelled reference photos, in order."""
        return sorted((self.folder / "references").glob("*.jpg"))

    def reference_mask(self, photo: Path, further: str = "") -> Path:
        """The ground-truth mask of a reference photo, for tests; of a ``further`` object if named.

        A further object that the photo does not show has no mask.
        """
        stem = f"{photo.stem}_{further}" if further else photo.stem
        return self.folder / "references_masks" / f"{stem}.png"

    def reference_keypoints(self, photo: Path) -> NDArray[np.float32]:
        """The ground-truth keypoints of a person's reference photo, ``(18, 3)``.

        As :mod:`spinml.home.keypoints` has them: x, y and visibility 0, 1 or 2.
        """
        path = self.folder / "references_keypoints" / f"{photo.stem}.json"
        (person,) = json.loads(path.read_text())["people"]
        found = np.array(person["pose_keypoints_2d"], np.float32).reshape(-1, 3)
        found[:, 2] *= _MOST_VISIBLE
        return found

    def test(self) -> list[tuple[Path, str]]:
        """Labelled test photos with their classes, in order."""
        return [
            (photo, label)
            for label in self.record.label_classes
            for photo in sorted((self.folder / "test" / label).glob("*.jpg"))
        ]

    @property
    def detection(self) -> bool:
        """Whether the test photos are labelled with boxes."""
        return (self.folder / "test" / "images").is_dir()

    def test_photos(self) -> list[Path]:
        """The test photos, whatever their labels are, in order."""
        if self.detection:
            return [photo for photo, _ in self.detections()]
        return [photo for photo, _ in self.test()]

    def detections(self) -> list[tuple[Path, list[LabelledBox]]]:
        """Test photos to be detected in, with their objects' boxes, in order."""
        classes = self.record.label_classes
        found = []
        for photo in sorted((self.folder / "test" / "images").glob("*.jpg")):
            lines = (self.folder / "test" / "labels" / f"{photo.stem}.txt").read_text().splitlines()
            rows = [line.split() for line in lines]
            boxes = [LabelledBox(classes[int(r[0])], *(float(v) for v in r[1:])) for r in rows]
            found.append((photo, boxes))
        return found


def shipped_home(task: HomeTask) -> PhotoSet:
    """The private home of one of the paper's three tasks (§4.1) that comes with the package."""
    return PhotoSet(Path(__file__).parent / "data" / task)


def shipped_homes() -> dict[HomeTask, PhotoSet]:
    """All private homes that come with the package, by task."""
    return {task: shipped_home(task) for task in get_args(HomeTask)}


def expose(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture as a cheap camera gives it: exposed by its mean, with noise that grows with gain.

    The gain stays within `GAINS`, so that a dark evening is still darker than a day.
    """
    gain = float(np.clip(EXPOSED_MEAN / max(1.0, float(image.mean())), *GAINS))
    noise = rng.normal(0, NOISE_STD * (1 + 0.4 * gain), image.shape)
    noise = cv2.GaussianBlur(noise, (0, 0), 0.6) * 1.5
    return np.asarray((image * gain + noise).round().clip(0, 255), np.uint8)


def write_photo(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an RGB picture as JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = np.ascontiguousarray(image[..., ::-1])
    if not cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]):
        raise OSError(f"cannot write the photo {path}")


def write_mask(folder: Path, stem: str, mask: NDArray[np.bool_]) -> None:
    """Write a mask ``(h, w)`` as a picture of 0 and 255."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.png"
    if not cv2.imwrite(str(path), mask.astype(np.uint8) * 255):
        raise OSError(f"cannot write the mask {path}")


def write_keypoints(path: Path, keypoints: NDArray[np.float32]) -> None:
    """Write keypoints ``(18, 3)`` as OpenPose does, which is what the device takes.

    The confidence is 1 where a keypoint is seen, 0.5 where it is hidden and 0 outside the picture.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = (keypoints / (1, 1, _MOST_VISIBLE)).ravel().tolist()
    person = {"pose_keypoints_2d": [round(float(number), 2) for number in numbers]}
    path.write_text(json.dumps({"people": [person]}) + "\n")


def write_boxes(path: Path, masks: Sequence[tuple[int, NDArray[np.bool_]]]) -> None:
    """Write the boxes of masks ``(h, w)`` and their classes in YOLO's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for label, mask in masks:
        x0, y0, x1, y1 = bounding_box(mask)
        height, width = mask.shape
        shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height,
                  (x1 - x0) / width, (y1 - y0) / height)  # fmt: skip
        lines.append(f"{label} " + " ".join(f"{share:.6f}" for share in shares))
    path.write_text("\n".join(lines) + "\n")


def write_names(folder: Path, names: Sequence[str]) -> None:
    """Write which classes the labels in ``folder`` mean: ``data.yaml``, as YOLO has it."""
    folder.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_dump({"names": dict(enumerate(names))}, sort_keys=False)
    (folder / "data.yaml").write_text(content, encoding="utf-8")


def write_record(folder: Path, record: HomeRecord) -> None:
    """Write ``home.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "home.json").write_text(json.dumps(asdict(record), indent=2) + "\n")
