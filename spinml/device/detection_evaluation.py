"""How good a detector is on labelled photos: mAP50 (§4.3), by COCO's evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_coco_eval import COCO, COCOeval_faster

from spinml.device.detector import CONFIDENCE, Detector
from spinml.device.labelled_boxes import read_labelled
from spinml.errors import PhotoError

_IOU = 0.5
_EVERYTHING = 0.0

Rows = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassFigures:
    """One class's: AP at IoU 0.5; precision and recall of the boxes that are shown.

    Precision is None where nothing of the class is shown.
    """

    objects: int
    ap50: float
    precision: float | None
    recall: float


@dataclass(frozen=True)
class DetectionEvaluation:
    """A detector's figures on labelled photos."""

    photos: int
    per_class: dict[str, ClassFigures]
    """Of every class that has objects."""
    left_out: int
    """Labelled objects of classes that the model does not have."""

    @property
    def map50(self) -> float:
        """The mean of the classes' AP at IoU 0.5."""
        return float(np.mean([figures.ap50 for figures in self.per_class.values()]))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able figures."""
        return {
            "photos": self.photos,
            "objects": sum(figures.objects for figures in self.per_class.values()),
            "left_out": self.left_out,
            "map50": self.map50,
            "confidence": CONFIDENCE,
            "per_class": {name: vars(figures) for name, figures in self.per_class.items()},
        }


def evaluate_detector(detector: Detector, folder: Path) -> DetectionEvaluation:
    """Figures of ``detector`` on the labelled photos in ``folder``.

    Raises:
        PhotoError: another layout, a bad label, or no object of the model's classes.
    """
    truth: list[Rows] = []
    found: list[Rows] = []
    left_out = 0
    for item in read_labelled(folder, detector.classes):
        known = [box for box in item.boxes if box.label in detector.classes]
        left_out += len(item.boxes) - len(known)
        truth.append(_rows([(*b.box, detector.classes.index(b.label)) for b in known], 5))
        detections = detector.detect(item.photo, _EVERYTHING)
        found.append(_rows([(*one.box, one.index, one.score) for one in detections], 6))
    if not sum(map(len, truth)):
        raise PhotoError(
            "no object of the model's classes is labelled",
            remedy=f"its classes are: {', '.join(detector.classes)}",
        )
    figures = class_figures(truth, found, len(detector.classes))
    by_name = {detector.classes[index]: one for index, one in figures.items()}
    return DetectionEvaluation(len(truth), by_name, left_out)


def class_figures(
    truth: Sequence[Rows], found: Sequence[Rows], classes: int, confidence: float = CONFIDENCE
) -> dict[int, ClassFigures]:
    """Figures by class, of every class that has objects.

    Args:
        truth: of each photo, ``(n, 5)``: x0, y0, x1, y1, class.
        found: of each photo, ``(m, 6)``: x0, y0, x1, y1, class, score.
        confidence: precision and recall are of boxes above it; AP takes all.
    """
    objects = np.bincount(np.concatenate(truth)[:, 4].astype(int), minlength=classes)
    shown = [rows[rows[:, 5] > confidence] for rows in found]
    counts = np.bincount(np.concatenate(shown)[:, 4].astype(int), minlength=classes)
    precisions, _ = _evaluate(truth, found, classes)
    _, recalls = _evaluate(truth, shown, classes)
    figures = {}
    for index in np.flatnonzero(objects):
        right = recalls[index] * objects[index]
        figures[int(index)] = ClassFigures(
            objects=int(objects[index]),
            ap50=float(precisions[index]),
            precision=float(right / counts[index]) if counts[index] else None,
            recall=float(recalls[index]),
        )
    return figures


def _evaluate(
    truth: Sequence[Rows], found: Sequence[Rows], classes: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """AP by 101-point interpolation and recall, each ``(classes,)``, at IoU 0.5."""
    photos = range(1, len(truth) + 1)
    annotations = [
        {
            "id": 0,
            "image_id": photo,
            "category_id": int(row[4]),
            "bbox": [row[0], row[1], row[2] - row[0], row[3] - row[1]],
            "area": (row[2] - row[0]) * (row[3] - row[1]),
            "iscrowd": 0,
        }
        for photo, rows in zip(photos, truth, strict=True)
        for row in rows.tolist()
    ]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    wanted = COCO(
        {
            "images": [{"id": photo} for photo in photos],
            "annotations": annotations,
            "categories": [{"id": index, "name": str(index)} for index in range(classes)],
        }
    )
    results = [
        (photo, row[0], row[1], row[2] - row[0], row[3] - row[1], row[5], row[4])
        for photo, rows in zip(photos, found, strict=True)
        for row in rows.tolist()
    ]
    if not results:
        return np.zeros(classes), np.zeros(classes)
    evaluation = COCOeval_faster(wanted, wanted.loadRes(np.array(results)), "bbox")
    evaluation.params.iouThrs = np.array([_IOU])
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.maxDets = [max(len(rows) for rows in found)]
    evaluation.evaluate()
    evaluation.accumulate()
    # (IoUs, recalls, classes, areas, limits); -1 where a class has no object.
    precision = np.maximum(evaluation.eval["precision"][0, :, :, 0, 0], 0.0)
    recall = np.maximum(evaluation.eval["recall"][0, :, 0, 0], 0.0)
    return precision.mean(axis=0), recall


def _rows(values: Iterable[tuple[float, ...]], width: int) -> Rows:
    return np.array(list(values), np.float64).reshape(-1, width)
