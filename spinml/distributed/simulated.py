"""Simulated stages, for rehearsals: they wait as long as the work would take and write stand-ins.

All else is the product's own: the plan, the executor, its workers, and (but for ``PLAIN``) Ray Data
under DRAW and GENERATE and Ray Train under TRAIN. Nothing is learned from what they write, and it
must lie in a store of its own, for its keys are those of real artifacts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from spinml.config import ServerConfig
from spinml.distributed.generation import Shard
from spinml.distributed.journal import noted
from spinml.distributed.operations import Operations
from spinml.images import encode_png
from spinml.pipeline.stages import Progress, Stage, StageContext, StageKind
from spinml.preference import BACKGROUND, OBJECT_SEGMENTS
from spinml.synthesis.shards import plan_shards

STEPS_PER_S = 4.0
"""Of fine-tuning, on the GPU that is simulated."""
IMAGES_PER_S = 4.0
"""Drawn, or painted behind what was drawn."""
EPOCHS_PER_S = 1.0
LIGHT_S = 1.0
"""Of all other stages."""
TICK_S = 0.25
_PHOTO_PX = 32
_EMBEDDING = 128
"""Width of the bundled embedder's vectors."""


def run(context: StageContext) -> dict[str, Any]:
    """Every stage that one worker executes as a whole."""
    with noted(context.stage):
        _pass(_duration_s(context.stage), context.progress)
    return _write(context)


class SimulatedShards:
    """A ShardSource of files that hold nothing."""

    unit = "images"

    def __init__(self, config: ServerConfig, stage: Stage, inputs: Mapping[str, Path]) -> None:
        self._stage = stage
        self._shards = self.plan(stage.params)

    @staticmethod
    def plan(params: Mapping[str, Any]) -> Sequence[Shard]:
        return [Shard(spec.file_name, len(spec.images)) for spec in plan_shards(params)]

    def draw(self, index: int, path: Path, progress: Progress) -> None:
        shard = self._shards[index]
        with noted(self._stage, shard.name):
            _pass(shard.rows / IMAGES_PER_S, progress)
        path.write_bytes(b"")

    @staticmethod
    def finish(folder: Path, stage: Stage) -> dict[str, Any]:
        return {"images": int(stage.params["images"]), "rejected": {}}


def train(context: StageContext) -> dict[str, Any]:
    """TRAIN's loop in each of Ray Train's workers; rank 0 is noted."""
    from ray import train as ray_train  # here: other stages' workers start in half the time

    epochs = int(context.params["settings"]["epochs"])
    if ray_train.get_context().get_world_rank() > 0:
        time.sleep(epochs / EPOCHS_PER_S)
        return {}
    with noted(context.stage):
        _pass(epochs / EPOCHS_PER_S, context.progress)
    return _write(context)


_BY_ONE_WORKER: dict[StageKind, str] = {
    kind: f"{__name__}:run" for kind in StageKind if kind is not StageKind.SEGMENT
}
_COORDINATED = (StageKind.DRAW, StageKind.GENERATE, StageKind.TRAIN)

OPERATIONS = Operations(
    functions={kind: path for kind, path in _BY_ONE_WORKER.items() if kind not in _COORDINATED},
    sources={
        StageKind.DRAW: f"{__name__}:SimulatedShards",
        StageKind.GENERATE: f"{__name__}:SimulatedShards",
    },
    trainer=f"{__name__}:train",
)
PLAIN = Operations(functions=_BY_ONE_WORKER)
"""Without Ray Data and Ray Train, whose processes cost a small machine more than the waiting."""


def _duration_s(stage: Stage) -> float:
    if stage.kind is StageKind.FINETUNE:
        return float(stage.params["settings"]["steps"]) / STEPS_PER_S
    if stage.kind is StageKind.EXPAND:  # for each photo; how many there are, only the segment says
        return float(stage.params["settings"]["images_per_feature"]) / IMAGES_PER_S
    if stage.kind is StageKind.PRIOR:
        return float(stage.params["count"]) / IMAGES_PER_S
    if stage.kind in (StageKind.DRAW, StageKind.GENERATE):
        return float(stage.params["images"]) / IMAGES_PER_S
    if stage.kind is StageKind.TRAIN:
        return float(stage.params["settings"]["epochs"]) / EPOCHS_PER_S
    return LIGHT_S


def _pass(seconds: float, progress: Progress) -> None:
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        time.sleep(min(TICK_S, seconds - passed))
        progress(min(99, int(100 * passed / seconds)), 100, "percent")


def _write(context: StageContext) -> dict[str, Any]:
    """The stand-in: what the device can open, where it opens the result."""
    if context.stage.kind is StageKind.EXPORT:
        _write_classifier(context.out / "model.onnx", context.params["label_classes"])
    elif context.stage.kind is StageKind.MEASURE:
        _write_measures(context.out, context.params["label_classes"])
        return {"validation_accuracy": 0.0}
    else:
        (context.out / "simulated.txt").write_text(context.stage.kind.value)
    return {}


def _write_classifier(path: Path, classes: Sequence[str]) -> None:
    """A classifier for which every class is as likely on every photo."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["levels", "axes"], ["mean"], keepdims=0),
            helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
            helper.make_node("Mul", ["column", "zeros"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "simulated",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", _PHOTO_PX, _PHOTO_PX, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(classes)])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
            helper.make_tensor("zeros", TensorProto.FLOAT, [1, len(classes)], [0.0] * len(classes)),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    described = {
        "spinml.classes": json.dumps(list(classes)),
        "spinml.image_px": str(_PHOTO_PX),
        "spinml.task": "classification",
    }
    helper.set_model_props(model, described)
    onnx.save(model, path)


def _write_measures(out: Path, classes: Sequence[str]) -> None:
    vector = np.full((1, _EMBEDDING), _EMBEDDING**-0.5, np.float32)
    arrays: dict[str, Any] = dict.fromkeys((*OBJECT_SEGMENTS, BACKGROUND), vector)
    np.savez(out / "embeddings.npz", index=np.arange(1), **arrays)
    grey = np.full((_PHOTO_PX, _PHOTO_PX, 3), 128, np.uint8)
    (out / "sample.png").write_bytes(encode_png(grey))
    samples = [{"file": "sample.png", "label": name} for name in classes]
    (out / "figures.json").write_text(json.dumps({"samples": samples}))
