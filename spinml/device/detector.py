"""A specialised detector on the device: onnxruntime alone, private photos stay private (§4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spinml.device.letterbox import letterbox, square_batch
from spinml.device.model_file import open_model
from spinml.images import Photo

CONFIDENCE = 0.25
"""Least score of a box that is shown, as in ultralytics."""


@dataclass(frozen=True)
class Detection:
    """An object that was found.

    Attributes:
        label: its class, ``index`` among the model's.
        score: in [0, 1].
        box: x0, y0, x1, y1 in the photo's pixels, within the photo.
    """

    label: str
    index: int
    score: float
    box: tuple[float, float, float, float]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"label": self.label, "score": self.score, "box": list(self.box)}


class Detector:
    """A detector that SpinML trained: photos in, boxes out; suppression lies in the model.

    Raises:
        ModelFileError: no such file, or not a SpinML detector.
    """

    def __init__(self, path: Path, *, threads: int = 0):
        model = open_model(path, "detection", threads=threads)
        self._session, self.classes, self.image_px = model.session, model.classes, model.image_px

    def detect(self, photo: Photo, confidence: float = CONFIDENCE) -> list[Detection]:
        """The objects on an RGB ``photo`` ``(H, W, 3)`` whose score is above ``confidence``.

        The surest first.
        """
        square, fit = letterbox(photo, self.image_px)
        rows = self._session.run(["output0"], {"images": square_batch(square)})[0][0]
        height, width = photo.shape[:2]
        found = []
        for x0, y0, x1, y1, score, label in rows[rows[:, 4] > confidence]:
            across = np.clip((np.array([x0, x1]) - fit.left) * width / fit.scaled_width, 0, width)
            down = np.clip((np.array([y0, y1]) - fit.top) * height / fit.scaled_height, 0, height)
            box = (float(across[0]), float(down[0]), float(across[1]), float(down[1]))
            index = int(label)
            found.append(Detection(self.classes[index], index, float(score), box))
        return sorted(found, key=lambda one: -one.score)
