"""The detector as one ONNX file with non-maximum suppression and class names inside (§4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from spinml.device.detector import Detector
from spinml.errors import StageError
from spinml.images import Photo
from spinml.pipeline.scratch import scratch
from spinml.training.detector_model import DetectorDescription
from spinml.training.model import class_list
from spinml.training.yolo import ultralytics

LEAST_CONFIDENCE = 0.001
"""The file gives every box above it, for mAP ranks them all; the device chooses what it shows."""
OVERLAP = 0.7
"""Boxes of one class that overlap more (IoU) are one object."""
MOST_BOXES = 100
BOX_TOLERANCE_PX, SCORE_TOLERANCE = 0.5, 1e-3
_OPSET = 17


def export_detector(model: Any, description: DetectorDescription, path: Path) -> None:
    """Write ``model`` to ``path``, as ultralytics exports it with ``nms=True``.

    Input ``images`` ``(1, 3, px, px)``: RGB in [0, 1], letterboxed on grey 114. Output ``output0``
    ``(1, MOST_BOXES, 6)``: x0, y0, x1, y1 in the input's pixels, score, class; zeros where there is
    no box. Metadata: ultralytics' own, and ``spinml.classes`` (JSON list), ``spinml.image_px``,
    ``spinml.task``.
    """
    ultralytics()
    from ultralytics.engine.exporter import Exporter

    with scratch("export") as folder:
        model.pt_path = str(folder / "model.pt")  # whose name and folder the file takes
        exporter = Exporter(overrides=_options(description))
        written = onnx.load(str(exporter(model.eval())))
    properties = {prop.key: prop.value for prop in written.metadata_props} | {
        "spinml.classes": class_list(description.classes),
        "spinml.image_px": str(description.image_px),
        "spinml.task": description.task,
    }
    onnx.helper.set_model_props(written, properties)
    onnx.checker.check_model(written)
    onnx.save_model(written, path)


def _options(description: DetectorDescription) -> dict[str, Any]:
    return {
        "format": "onnx",
        "nms": True,
        "conf": LEAST_CONFIDENCE,
        "iou": OVERLAP,
        "max_det": MOST_BOXES,
        "imgsz": description.image_px,
        "batch": 1,
        "opset": _OPSET,
        "simplify": False,
        "device": "cpu",
        "verbose": False,
    }


def check_detector(
    path: Path, model: Any, images: Sequence[Photo], *, confidence: float = 0.05
) -> dict[str, float]:
    """Largest differences between the device's boxes and torch's on ``images`` ``(px, px, 3)``.

    Each box above ``confidence`` of either is compared with the other's of its class that is
    nearest to it.

    Returns:
        ``largest_box_difference`` in pixels, ``largest_score_difference``, ``boxes`` compared.

    Raises:
        StageError: one of them is too large, or a box has no counterpart.
    """
    detector = Detector(path)
    boxes = scores = 0.0
    compared = 0
    for image in images:
        found = np.array([[*one.box, one.score, one.index] for one in detector.detect(image, 0.0)])
        for ours, theirs in _pairs(found, _by_torch(model, image), confidence):
            boxes = max(boxes, float(np.abs(ours[:4] - theirs[:4]).max()))
            scores = max(scores, float(abs(ours[4] - theirs[4])))
            compared += 1
    if boxes > BOX_TOLERANCE_PX or scores > SCORE_TOLERANCE:
        raise StageError(
            f"the exported detector's boxes are {boxes:.2g} px and its scores {scores:.2g} off, "
            f"at most {BOX_TOLERANCE_PX} px and {SCORE_TOLERANCE} are taken",
            remedy="report this as a bug with the versions of ultralytics, onnx and onnxruntime",
        )
    return {
        "largest_box_difference": boxes,
        "largest_score_difference": scores,
        "boxes": compared,
    }


def _by_torch(model: Any, image: Photo) -> npt.NDArray[np.float32]:
    """``(n, 6)`` as in the file, by ultralytics' own suppression."""
    ultralytics()
    from ultralytics.utils.nms import non_max_suppression

    batch = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255.0
    with torch.inference_mode():
        raw = model.eval()(batch)
        found = non_max_suppression(
            raw, LEAST_CONFIDENCE, OVERLAP, max_det=MOST_BOXES, nc=len(model.names)
        )
    kept: npt.NDArray[np.float32] = found[0].numpy()
    kept[:, :4] = kept[:, :4].clip(0, image.shape[0])
    return kept


def _pairs(
    first: npt.NDArray[Any], second: npt.NDArray[Any], confidence: float
) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Every box above ``confidence`` with the other's nearest of its class; infinity if none."""
    missing = np.full(6, np.inf)
    pairs = []
    for mine, other in ((first, second), (second, first)):
        for box in mine[mine[:, 4] > confidence] if len(mine) else ():
            same = other[other[:, 5] == box[5]] if len(other) else other
            distances = np.abs(same - box).max(axis=1) if len(same) else None
            pairs.append((box, missing if distances is None else same[distances.argmin()]))
    return pairs
