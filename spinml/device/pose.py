"""Finding a person's keypoints on the device: YOLOv8-pose as ONNX in onnxruntime (§3.2)."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np

from spinml.device.letterbox import input_side, letterbox, square_batch
from spinml.errors import ModelFileError
from spinml.images import Photo
from spinml.privacy.onnx_session import open_session
from spinml.privacy.private import Keypoints

CONFIDENCE = 0.35
_OPENPOSE_OF_COCO = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""COCO's keypoint for each of OpenPose's; the neck is between the shoulders."""
_SHOULDERS = (5, 6)
_ROWS = 4 + 1 + 17 * 3


class OnnxPose:
    """A YOLOv8-pose model as ultralytics exports it, of one class and COCO's 17 keypoints.

    It gives ``output0`` of shape ``(1, 56, n)``: box (centre, size), score, and x, y, confidence
    of each keypoint. A :class:`spinml.privacy.extractor.PoseModel`.

    Raises:
        ModelFileError: no such file, or not a model of that form.
    """

    def __init__(self, path: Path, *, confidence: float = CONFIDENCE, threads: int = 0):
        self._session = open_session(path, threads=threads)
        self._confidence = confidence
        metadata = self._session.get_modelmeta().custom_metadata_map
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = _keypoint_shape(metadata.get("kpt_shape", ""))
        if shape != (17, 3) or len(inputs) != 1 or len(outputs) != 1:
            raise ModelFileError(
                f"{path.name} is no YOLOv8-pose model: it has {len(outputs)} output(s) and "
                f"keypoints of shape {shape}; wanted 1 and (17, 3)",
                remedy="export one with ultralytics: model.export(format='onnx')",
            )
        self._input = inputs[0].name
        self.size_px = input_side(inputs[0].shape, metadata.get("imgsz"))

    def keypoints(self, photo: Photo) -> Keypoints | None:
        """Of the surest person on ``photo`` ``(H, W, 3)``: ``(18, 3)`` in its pixels, or None."""
        square, fit = letterbox(photo, self.size_px)
        found = self._session.run(None, {self._input: square_batch(square)})[0][0]
        if found.shape[0] != _ROWS:
            raise ModelFileError(f"the pose model gives {found.shape[0]} rows, wanted {_ROWS}")
        scores = found[4]
        if not scores.size or scores.max() < self._confidence:
            return None
        coco = found[5:, int(scores.argmax())].reshape(17, 3).astype(np.float32)
        coco[:, 0] = (coco[:, 0] - fit.left) * photo.shape[1] / fit.scaled_width
        coco[:, 1] = (coco[:, 1] - fit.top) * photo.shape[0] / fit.scaled_height
        return _as_openpose(coco)


def _as_openpose(coco: Keypoints) -> Keypoints:
    """COCO's ``(17, 3)`` as OpenPose's ``(18, 3)``."""
    shoulders = coco[list(_SHOULDERS)]
    neck = np.append(shoulders[:, :2].mean(axis=0), shoulders[:, 2].min())
    rows = [neck if source is None else coco[source] for source in _OPENPOSE_OF_COCO]
    return np.asarray(rows, np.float32)


def _keypoint_shape(text: str) -> tuple[int, ...]:
    """Parse ultralytics' ``[17, 3]``; empty when it is something else."""
    try:
        return tuple(int(number) for number in ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError):
        return ()
