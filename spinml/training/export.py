"""The specialised model as one ONNX file: preprocessing, softmax and class names inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from spinml.errors import StageError
from spinml.training.model import Classifier, Description, class_list

INPUT, OUTPUT = "image", "probabilities"
TOLERANCE = 1e-3
_OPSET = 18


class Deployed(nn.Module):
    """What the file computes: uint8 ``(n, px, px, 3)`` RGB to probabilities ``(n, classes)``."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, image: Tensor) -> Tensor:
        scaled = image.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        return torch.softmax(self.classifier(scaled), dim=1)


def export_onnx(classifier: Classifier, description: Description, path: Path) -> None:
    """Write ``classifier`` to ``path``.

    Metadata: ``spinml.classes`` (JSON list), ``spinml.image_px``, ``spinml.task``. The batch size
    is free; images must have the model's size.
    """
    px = description.image_px
    example = torch.zeros((2, px, px, 3), dtype=torch.uint8)
    program = torch.onnx.export(
        Deployed(classifier).eval().cpu(),
        (example,),
        dynamo=True,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes={INPUT: {0: torch.export.Dim("n", min=1)}},
        opset_version=_OPSET,
        verbose=False,
    )
    if program is None:
        raise StageError("torch.onnx.export gave no program", remedy="report this as a bug")
    model = program.model_proto
    properties = {
        "spinml.classes": class_list(description.classes),
        "spinml.image_px": str(px),
        "spinml.task": description.task,
    }
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    onnx.save_model(model, path)


def check_onnx(
    path: Path, classifier: Classifier, images: npt.NDArray[np.uint8], tolerance: float = TOLERANCE
) -> float:
    """Largest difference between the file's and torch's probabilities on ``images``.

    Args:
        images: uint8 ``(n, px, px, 3)``.

    Raises:
        StageError: it is larger than ``tolerance``.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = np.asarray(session.run([OUTPUT], {INPUT: images})[0])
    with torch.inference_mode():
        wanted = Deployed(classifier).eval().cpu()(torch.from_numpy(images)).numpy()
    difference = float(np.abs(found - wanted).max())
    if not difference <= tolerance:
        raise StageError(
            f"the exported model's probabilities are {difference:.2g} off, at most {tolerance:.2g} "
            "are taken",
            remedy="report this as a bug with the versions of torch, onnx and onnxruntime",
        )
    return difference
