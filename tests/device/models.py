"""Small ONNX models whose answers are known: a segmenter and a classifier."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 64
GRID = 16


def segmenter(path: Path, detections: list[tuple[list[float], int, float]]) -> Path:
    """A YOLOv8-seg file that finds ``(box centre and size in 64 px, class, score)``, always.

    Its classes are dog and pill bottle; each detection's mask is the upper half of the grid.
    """
    output = np.zeros((1, 4 + 2 + 32, len(detections)), np.float32)
    for index, (box, kind, score) in enumerate(detections):
        output[0, :4, index] = box
        output[0, 4 + kind, index] = score
        output[0, 6, index] = 1.0
    prototypes = np.zeros((1, 32, GRID, GRID), np.float32)
    prototypes[0, 0] = -9.0
    prototypes[0, 0, : GRID // 2] = 9.0
    graph = helper.make_graph(
        [
            # The input must be used: its maximum, times zero, is added.
            helper.make_node("ReduceMax", ["images"], ["top"], keepdims=0),
            helper.make_node("Mul", ["top", "zero"], ["nothing"]),
            helper.make_node("Add", ["found", "nothing"], ["output0"]),
            helper.make_node("Add", ["masks", "nothing"], ["output1"]),
        ],
        "segmenter",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("output0", TensorProto.FLOAT, output.shape),
            helper.make_tensor_value_info("output1", TensorProto.FLOAT, prototypes.shape),
        ],
        [
            numpy_helper.from_array(output, "found"),
            numpy_helper.from_array(prototypes, "masks"),
            numpy_helper.from_array(np.float32(0), "zero"),
        ],
    )
    return _save(graph, path, {"names": "{0: 'dog', 1: 'pill bottle'}"})


def colour_embedder(path: Path) -> Path:
    """An embedder whose vector is the direction of the mean colour."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["means"]),
            helper.make_node("Flatten", ["means"], ["colour"]),
            helper.make_node("LpNormalization", ["colour"], ["embedding"], axis=1, p=2),
        ],
        "embedder",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3])],
    )
    return _save(graph, path, {})


def brightness_classifier(
    path: Path, metadata: dict[str, str] | None = None, classes: Sequence[str] = ("dark", "bright")
) -> Path:
    """A SpinML classifier: the first of ``classes`` for dark photos, the last for bright ones."""
    signs = np.linspace(-0.05, 0.05, len(classes))
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["levels", "axes"], ["mean"], keepdims=0),
            helper.make_node("Sub", ["mean", "middle"], ["above"]),
            helper.make_node("Unsqueeze", ["above", "last"], ["column"]),
            helper.make_node("Mul", ["column", "signs"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 32, 32, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(classes)])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
            helper.make_tensor("middle", TensorProto.FLOAT, [], [128.0]),
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
            helper.make_tensor("signs", TensorProto.FLOAT, [1, len(classes)], signs),
        ],
    )
    described = {
        "spinml.classes": json.dumps(list(classes)),
        "spinml.image_px": "32",
        "spinml.task": "classification",
    }
    return _save(graph, path, described if metadata is None else metadata)


def pose_model(path: Path, people: list[tuple[float, np.ndarray]], kpt_shape: str) -> Path:
    """A YOLOv8-pose file that finds ``(score, COCO's keypoints (17, 3) in 64 px)``, always."""
    output = np.zeros((1, 56, len(people)), np.float32)
    for index, (score, keypoints) in enumerate(people):
        output[0, 4, index] = score
        output[0, 5:, index] = keypoints.ravel()
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMax", ["images"], ["top"], keepdims=0),
            helper.make_node("Mul", ["top", "zero"], ["nothing"]),
            helper.make_node("Add", ["found", "nothing"], ["output0"]),
        ],
        "pose",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, output.shape)],
        [numpy_helper.from_array(output, "found"), numpy_helper.from_array(np.float32(0), "zero")],
    )
    return _save(graph, path, {"kpt_shape": kpt_shape})


def red_depth(path: Path) -> Path:
    """A depth model to which red is near."""
    graph = helper.make_graph(
        [helper.make_node("Slice", ["image", "from", "to", "axis"], ["depth"])],
        "depth",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, 1, SIDE, SIDE])],
        [
            helper.make_tensor("from", TensorProto.INT64, [1], [0]),
            helper.make_tensor("to", TensorProto.INT64, [1], [1]),
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        ],
    )
    return _save(graph, path, {})


def _save(graph: onnx.GraphProto, path: Path, metadata: dict[str, str]) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path
