"""Photo sets on disk: what a camera in a private home took, and its reader (no MuJoCo needed).

A set is a folder: ``references/ref_00.jpg`` … without labels, ``references_masks/ref_00.png`` …
(ground truth, for tests), ``test/<class>/photo_000.jpg`` …, and ``home.json``, from which
``jobs/render_home.py private`` renders it again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

PHOTO_PX = 320
JPEG_QUALITY = 90
NOISE_STD = 1.6
"""Standard deviation of the sensor noise in 8-bit steps, before gain."""
EXPOSED_MEAN = 115.0
"""The mean level that the automatic exposure aims at."""
GAINS = (0.8, 1.6)


@dataclass(frozen=True)
class HomeRecord:
    """What reproduces a photo set: ``home.json``."""

    name: str
    seed: int
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
class PhotoSet:
    """A photo set on disk."""

    folder: Path

    @property
    def record(self) -> HomeRecord:
        """What ``home.json`` says."""
        raw = json.loads((self.folder / "home.json").read_text())
        return HomeRecord(**{**raw, "label_classes": tuple(raw["label_classes"])})

    def references(self) -> list[Path]:
        """Unlabelled reference photos, in order."""
        return sorted((self.folder / "references").glob("*.jpg"))

    def reference_mask(self, photo: Path) -> Path:
        """The ground-truth mask of a reference photo, for tests."""
        return self.folder / "references_masks" / f"{photo.stem}.png"

    def test(self) -> list[tuple[Path, str]]:
        """Labelled test photos with their classes, in order."""
        return [
            (photo, label)
            for label in self.record.label_classes
            for photo in sorted((self.folder / "test" / label).glob("*.jpg"))
        ]


def shipped_pet() -> PhotoSet:
    """The private home of the pet task that comes with the package."""
    return PhotoSet(Path(__file__).parent / "data" / "pet")


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


def write_record(folder: Path, record: HomeRecord) -> None:
    """Write ``home.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "home.json").write_text(json.dumps(asdict(record), indent=2) + "\n")
