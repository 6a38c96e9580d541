"""A detector trained on Ray: after its worker's death it goes on from the last whole epoch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spinml.config import ServerConfig
from spinml.device.detector import Detector
from spinml.distributed.executor import Executor
from spinml.distributed.operations import Operations
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import NodeCache
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import Stage, StageKind
from tests.training.squares import CLASSES, SIZE_PX, draw, write_dataset

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(900),  # starts Ray, and ultralytics in two workers of it
    pytest.mark.usefixtures("two_cpus"),
]


def test_a_killed_worker_costs_an_epoch(tmp_path: Path) -> None:
    config = ServerConfig.model_validate(
        {
            "detection": {"image_px": SIZE_PX, "epochs": 3, "validation_share": 0.2},
            "training": {"num_workers": 8},  # the classifier's; a detector has one
        }
    )
    journal = tmp_path / "journal"
    journal.mkdir()
    common = {"task": "detection", "label_classes": CLASSES, "seed": 0}
    dataset = Stage(StageKind.GENERATE, {"seed": 0}, label="dataset")
    settings = {"settings": config.detection.model_dump(), "journal": str(journal)}
    train = Stage(StageKind.TRAIN, common | settings, {"dataset": dataset.digest}, "train")
    inputs = {"model": train.digest, "dataset": dataset.digest}
    export = Stage(StageKind.EXPORT, common, inputs, "export")
    plan = Plan(
        {stage.digest: stage for stage in (dataset, train, export)}, {"export": export.digest}
    )
    store = ArtifactStore.from_url(f"file://{tmp_path}/store")
    (tmp_path / "shards").mkdir()
    store.publish(dataset.key("alice"), write_dataset(tmp_path / "shards", 16))

    operations = Operations(trainer="tests.distributed.dying:train_and_die")
    executor = Executor(config, store, operations, cache=NodeCache(tmp_path / "cache"))
    executor.run(plan, "alice", "run", lambda event: None)
    executor.close()

    first, second = (
        json.loads((journal / f"attempt-{number}.json").read_text()) for number in (0, 1)
    )
    assert first["first"] == 1
    assert second["first"] == second["total"] // 3 + 1
    made = store.fetch(train.key("alice"), tmp_path / "model")
    history = json.loads((made / "history.json").read_text())["epochs"]
    assert [epoch["epoch"] for epoch in history] == [0, 1, 2]
    assert sorted(store.list_files(train.key("alice"))) == [
        "history.json",
        "model.json",
        "model.safetensors",
    ]
    model = store.fetch(export.key("alice"), tmp_path / "export") / "model.onnx"
    assert Detector(model).detect(draw(0, 0)[0], 0.0)
