"""Stages of real plans that write small true artifacts at once, and note that they ran."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import ray

from spinml.distributed.cluster import connect
from spinml.distributed.operations import Operations
from spinml.errors import CheckpointError, GenerationError
from spinml.pipeline.stages import StageContext, StageKind
from spinml.tradeoffs.standing import Standing
from tests.device.models import brightness_classifier
from tests.service.executors import MEASURED

JOURNAL = "SPINML_TEST_JOURNAL"
BROKEN_SEED = 13
"""With this seed, GENERATE fails."""
WIDTH = 128
"""Of the bundled embedder's vectors."""

OPERATIONS = Operations(
    functions={kind: "tests.sweep.fakes:run" for kind in StageKind if kind != StageKind.SEGMENT}
)


def run(context: StageContext) -> dict[str, Any]:
    """Whatever the stage's kind: its files, in small."""
    kind, rng = context.stage.kind, np.random.default_rng(int(context.stage.digest[:8], 16))
    Path(os.environ[JOURNAL], f"{kind}.{uuid.uuid4().hex}").touch()
    if kind is StageKind.GENERATE and context.params["seed"] == BROKEN_SEED:
        raise GenerationError("4 of 4 objects broken", remedy="draw better")
    if kind is StageKind.EXPORT:
        classes = context.params["label_classes"]
        brightness_classifier(context.out / "model.onnx", classes=classes)
    elif kind is StageKind.MEASURE:
        vectors = rng.standard_normal((8, WIDTH)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        np.savez(
            context.out / "embeddings.npz",
            target=vectors[:4],
            background=vectors[4:],
            index=np.arange(4),
            prompt_target=vectors[:2],
            prompt_background=vectors[4:5],
            empty_prompt=vectors[7:],
        )
        labels, colour = context.params["label_classes"], rng.integers(0, 256, 3)
        for name in labels:
            cv2.imwrite(str(context.out / f"{name}.png"), np.full((32, 32, 3), colour, np.uint8))
        samples = [{"file": f"{name}.png", "label": name} for name in labels]
        (context.out / "figures.json").write_text(json.dumps(MEASURED | {"samples": samples}))
    else:
        (context.out / "out.txt").write_text(kind.value)
    return {"validation_accuracy": 0.75}


class FarHost:
    """A host that is not on the node of its trials: these see nothing of the driver's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def evaluate(self, point: Mapping[str, int]) -> dict[str, float]:
        for marker in self.folder.rglob(".validate_storage_marker"):
            marker.unlink()
        return {"utility": float(point["x"])}

    def standings(self) -> list[Standing]:
        return []


class InterruptingHost:
    """At its first trial, somebody presses Ctrl-C at the driver."""

    def __init__(self, driver: int) -> None:
        self.driver = driver

    def evaluate(self, point: Mapping[str, int]) -> dict[str, float]:
        os.kill(self.driver, signal.SIGINT)
        time.sleep(60)
        return {}

    def standings(self) -> list[Standing]:
        return []


class UnmadeHost:
    """A host that cannot be made."""

    def __init__(self) -> None:
        raise CheckpointError("no such checkpoint", remedy="check its name")

    def standings(self) -> list[Standing]:
        return []


@contextmanager
def journalled_cluster(journal: Path) -> Iterator[Path]:
    """A cluster of two CPUs whose workers note in the folder ``journal`` what they execute."""
    os.environ[JOURNAL] = str(journal)
    connect(num_cpus=2, num_gpus=0, object_store_bytes=200_000_000)
    yield journal
    ray.shutdown()
    del os.environ[JOURNAL]


def executed(journal: Path) -> Counter[str]:
    """How often each kind of stage was executed."""
    return Counter(path.name.split(".")[0] for path in journal.iterdir())
