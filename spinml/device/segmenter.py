"""Finding the target objects on the device: YOLOv8-seg as ONNX in onnxruntime (§3.2)."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from spinml.device.letterbox import Letterbox, input_side, letterbox, square_batch
from spinml.errors import ModelFileError, UnknownObjectError
from spinml.images import Mask, Photo
from spinml.privacy.onnx_session import open_session

CONFIDENCE = 0.35
OVERLAP = 0.6
"""Detections whose boxes overlap more (IoU) are one and the same."""
_MASK_COEFFICIENTS = 32

Floats = npt.NDArray[np.float32]


class Segmenter:
    """A YOLOv8-seg model as ultralytics exports it.

    It gives ``output0`` of shape ``(1, 4 + classes + 32, n)`` – boxes (centre, size), class
    scores, mask coefficients – and ``output1`` of shape ``(1, 32, h, w)``, the mask prototypes.

    Raises:
        ModelFileError: no such file, or not a model of that form.
    """

    def __init__(self, path: Path, *, confidence: float = CONFIDENCE, threads: int = 0):
        self._session = open_session(path, threads=threads)
        self._confidence = confidence
        metadata = self._session.get_modelmeta().custom_metadata_map
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if "names" not in metadata or len(inputs) != 1 or len(outputs) != 2:
            raise ModelFileError(
                f"{path.name} is no YOLOv8-seg model: it has {len(outputs)} outputs and "
                f"{'its' if 'names' in metadata else 'no'} class names; wanted 2 and its names",
                remedy="export one with ultralytics: model.export(format='onnx')",
            )
        self._input = inputs[0].name
        self.class_names = _class_names(metadata["names"])
        self.size_px = input_side(inputs[0].shape, metadata.get("imgsz"))

    def class_of(self, target_object: str) -> int:
        """The index of the class called ``target_object``, whatever its case or number.

        Raises:
            UnknownObjectError: the model has no such class; names those it has.
        """
        for index, name in enumerate(self.class_names):
            if _forms(name) & _forms(target_object):
                return index
        raise UnknownObjectError(
            f"the segmenter does not know {target_object!r}",
            remedy=f"it knows: {', '.join(self.class_names)}; or give masks with --mask",
            details={"known": list(self.class_names)},
        )

    def classes_of(self, target_objects: Sequence[str]) -> list[int]:
        """:meth:`class_of` of each of ``target_objects``.

        Raises:
            UnknownObjectError: the model has no such class, or one class for two of the objects.
        """
        indices = [self.class_of(words) for words in target_objects]
        if len(set(indices)) < len(indices):
            raise UnknownObjectError(
                f"the segmenter cannot tell {', '.join(target_objects)} from each other",
                remedy="name them as one target object, or give masks with --mask",
                details={"known": list(self.class_names)},
            )
        return indices

    def segment(self, photo: Photo, target_object: str) -> Mask | None:
        """Where ``target_object`` is on ``photo`` ``(H, W, 3)``: a mask ``(H, W)``, or None.

        All detections of the class together, for two dogs are both the target object.

        Raises:
            UnknownObjectError: the model has no such class.
        """
        return self.segment_all(photo, [target_object])[0]

    def segment_all(self, photo: Photo, target_objects: Sequence[str]) -> list[Mask | None]:
        """:meth:`segment` of each of ``target_objects``; the model runs once.

        Raises:
            UnknownObjectError: the model has no such class, or one class for two of the objects.
        """
        indices = self.classes_of(target_objects)
        square, fit = letterbox(photo, self.size_px)
        batch = square_batch(square)
        detections, prototypes = self._session.run(None, {self._input: batch})
        masks: list[Mask | None] = []
        for index in indices:
            boxes, coefficients = self._detections(detections[0], index)
            chances = _mask_chances(boxes, coefficients, prototypes[0], self.size_px)
            mask = _to_photo(chances, fit, self.size_px, photo.shape[1], photo.shape[0]) > 0.5
            masks.append(mask if mask.any() else None)
        return masks

    def _detections(self, output: Floats, index: int) -> tuple[Floats, Floats]:
        """Boxes ``(k, 4)`` as x, y, width, height, and coefficients ``(k, 32)`` of one class."""
        classes = len(self.class_names)
        scores = output[4 : 4 + classes]
        ours = (scores.argmax(axis=0) == index) & (scores[index] >= self._confidence)
        boxes = output[:4, ours].T.copy()
        boxes[:, :2] -= boxes[:, 2:] / 2
        kept = cv2.dnn.NMSBoxes(
            boxes.tolist(), scores[index, ours].tolist(), self._confidence, OVERLAP
        )
        order = np.asarray(kept, np.int64).reshape(-1)
        coefficients = output[4 + classes : 4 + classes + _MASK_COEFFICIENTS, ours].T
        return boxes[order], coefficients[order]


def _class_names(text: str) -> tuple[str, ...]:
    """Parse ultralytics' ``{0: 'dog', …}``."""
    try:
        names = ast.literal_eval(text)
        return tuple(str(names[index]) for index in range(len(names)))
    except (ValueError, SyntaxError, TypeError, KeyError):
        raise ModelFileError("the segmenter's class names cannot be read") from None


def _forms(words: str) -> set[str]:
    """``words`` without case, and the singulars they may be the plural of."""
    folded = " ".join(words.casefold().split())
    forms = {folded}
    if folded.endswith("ies"):
        forms.add(folded[:-3] + "y")
    if folded.endswith("es"):
        forms.add(folded[:-2])
    if folded.endswith("s"):
        forms.add(folded[:-1])
    return forms


def _mask_chances(boxes: Floats, coefficients: Floats, prototypes: Floats, side: int) -> Floats:
    """The chance ``(h, w)`` that a pixel of the prototypes' grid belongs to any detection."""
    _, height, width = prototypes.shape
    logits = np.tensordot(coefficients, prototypes, axes=1)
    chances = np.zeros((height, width), np.float32)
    for (x, y, box_width, box_height), logit in zip(
        boxes * np.float32(width / side), logits, strict=True
    ):
        rows = slice(max(0, int(y)), max(0, int(np.ceil(y + box_height))))
        columns = slice(max(0, int(x)), max(0, int(np.ceil(x + box_width))))
        chance = 1.0 / (1.0 + np.exp(-logit[rows, columns]))
        chances[rows, columns] = np.maximum(chances[rows, columns], chance)
    return chances


def _to_photo(chances: Floats, fit: Letterbox, side: int, width: int, height: int) -> Floats:
    """Undo the letterbox: the chances at the photo's resolution, ``(height, width)``."""
    square = cv2.resize(chances, (side, side), interpolation=cv2.INTER_LINEAR)
    inside = square[fit.top : fit.top + fit.scaled_height, fit.left : fit.left + fit.scaled_width]
    return np.asarray(cv2.resize(inside, (width, height), interpolation=cv2.INTER_LINEAR))
