"""Using a specialised model on the device: onnxruntime alone, private photos stay private."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spinml.device.model_file import open_model
from spinml.errors import PhotoError
from spinml.images import Photo, decode_photo, resize
from spinml.intervals import wilson_interval

_BATCH = 32
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True)
class Prediction:
    """A photo's class and the chance of every class."""

    label: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """A model's figures on labelled photos."""

    classes: tuple[str, ...]
    confusion: npt.NDArray[np.int64]
    """Shape ``(classes, classes)``: true class by row, predicted by column."""

    @property
    def photos(self) -> int:
        return int(self.confusion.sum())

    @property
    def correct(self) -> int:
        return int(np.trace(self.confusion))

    @property
    def accuracy(self) -> float:
        return self.correct / self.photos

    def as_dict(self) -> dict[str, Any]:
        """JSON-able figures; ``per_class`` is the recall of every class that has photos."""
        low, high = wilson_interval(self.correct, self.photos)
        rows = zip(self.classes, self.confusion, np.diag(self.confusion), strict=True)
        return {
            "photos": self.photos,
            "accuracy": self.accuracy,
            "interval_95": [low, high],
            "per_class": {name: float(right / row.sum()) for name, row, right in rows if row.sum()},
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
        }


class Predictor:
    """A classifier that SpinML trained: photos in, chances out; preprocessing lies in the model.

    Raises:
        ModelFileError: no such file, or not a SpinML classifier.
    """

    def __init__(self, path: Path, *, threads: int = 0):
        model = open_model(path, "classification", threads=threads)
        self._session, self.classes, self.image_px = model.session, model.classes, model.image_px

    def probabilities(self, photos: Sequence[Photo]) -> npt.NDArray[np.float32]:
        """The chance of every class for RGB ``photos`` ``(H, W, 3)``: shape ``(n, classes)``."""
        rows = [np.zeros((0, len(self.classes)), np.float32)]
        for at in range(0, len(photos), _BATCH):
            scaled = [resize(p, self.image_px, self.image_px) for p in photos[at : at + _BATCH]]
            rows += self._session.run(["probabilities"], {"image": np.stack(scaled)})
        return np.concatenate(rows)

    def predict(self, photos: Sequence[Photo]) -> list[Prediction]:
        """Classify RGB ``photos``, each ``(H, W, 3)``."""
        return [
            Prediction(
                self.classes[int(row.argmax())],
                dict(zip(self.classes, map(float, row), strict=True)),
            )
            for row in self.probabilities(photos)
        ]

    def evaluate(self, folder: Path) -> Evaluation:
        """Figures on ``folder``, which has one sub-folder of photos for each class.

        Raises:
            PhotoError: a sub-folder is no class of the model, or there is no photo.
        """
        return evaluate_photos(folder, self.classes, self.probabilities)


def evaluate_photos(
    folder: Path,
    classes: tuple[str, ...],
    probabilities: Callable[[Sequence[Photo]], npt.NDArray[np.float32]],
) -> Evaluation:
    """Figures of any classifier on ``folder``, which has one sub-folder of photos for each class.

    Args:
        probabilities: RGB photos ``(H, W, 3)`` to the chance of every class ``(n, classes)``.

    Raises:
        PhotoError: a sub-folder is none of ``classes``, or there is no photo.
    """
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    for index, paths in _labelled(folder, classes):
        for at in range(0, len(paths), _BATCH):
            photos = [decode_photo(path) for path in paths[at : at + _BATCH]]
            np.add.at(confusion[index], probabilities(photos).argmax(axis=1), 1)
    if not confusion.any():
        raise PhotoError(
            "the folder has no photos",
            remedy=f"put photos into sub-folders called {', '.join(classes)}",
        )
    return Evaluation(classes, confusion)


def _labelled(folder: Path, classes: tuple[str, ...]) -> Iterator[tuple[int, list[Path]]]:
    """Each class's index and photo files."""
    if not folder.is_dir():
        raise PhotoError(
            f"{folder} is no folder", remedy="give one with a sub-folder for each class"
        )
    folders = sorted(item for item in folder.iterdir() if item.is_dir())
    unknown = [item.name for item in folders if item.name not in classes]
    if unknown:
        raise PhotoError(
            f"sub-folders that are no class of the model: {', '.join(unknown)}",
            remedy=f"its classes are: {', '.join(classes)}",
        )
    for item in folders:
        files = sorted(p for p in item.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES)
        yield classes.index(item.name), files
