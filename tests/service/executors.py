"""Executors without a cluster: they report and publish like the real one."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spinml.config import ServerConfig
from spinml.errors import StageCancelledError
from spinml.loadtest.executor import Report
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import Stage, StageKind
from spinml.service.models import StageState
from spinml.service.work import OnReport
from tests.service.bundles import cut_out

EPOCH = {
    "epoch": 1,
    "train_loss": 1.0,
    "train_accuracy": 0.5,
    "validation_loss": 1.0,
    "validation_accuracy": 0.6,
}
MEASURED = {
    "datasets": [{"images": 8, "rejected": {"touches the border": 1}}],
    "history": [EPOCH],
    "validation": {"confusion": [[3, 1], [0, 4]]},
    "samples": [{"file": "samples/000.png", "label": "sitting"}],
}
"""As spinml.training.measure.collect_figures makes them."""
DATASET = {"images": 8, "rejected": {"cut_off": 3}}
"""As spinml.synthesis.dataset.summarise makes them."""
FILES: dict[StageKind, dict[str, bytes]] = {
    StageKind.GENERATE: {"shards/000.parquet": b"shard" * 1000, "README.md": b"card"},
    StageKind.EXPORT: {"model.onnx": b"onnx"},
    StageKind.MEASURE: {
        "embeddings.npz": b"npz",
        "figures.json": json.dumps(MEASURED).encode(),
        "samples/000.png": cut_out(),
    },
}


class QuickExecutor:
    """Publishes small artifacts; counts what it executed.

    ``gate`` may hold it inside a stage: it is asked until it lets go.
    """

    def __init__(self, store: ArtifactStore, stage_s: float = 0.0) -> None:
        self.store = store
        self.stage_s = stage_s
        self.executed: list[str] = []
        self.entered = threading.Event()
        self.gate: Callable[[Stage], bool] = lambda stage: True
        self.error: Exception | None = None

    def make(self, stage: Stage, tenant: str, out: Path) -> dict[str, Any]:
        """Write the files of the stage's artifact; its figures."""
        for path, data in FILES.get(stage.kind, {"result": b"result"}).items():
            file = out / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        return dict(DATASET) if stage.kind is StageKind.GENERATE else {}

    def __call__(
        self,
        plan: Plan,
        tenant: str,
        run_id: str,
        on_event: OnReport,
        cancelled: Callable[[], bool],
    ) -> None:
        for stage in plan:
            if self.store.exists(stage.key(tenant)):
                on_event(Report(stage.digest, StageState.REUSED))
                continue
            self._execute(stage, tenant, on_event, cancelled)

    def _execute(
        self, stage: Stage, tenant: str, on_event: OnReport, cancelled: Callable[[], bool]
    ) -> None:
        on_event(Report(stage.digest, StageState.RUNNING))
        self.entered.set()
        ends_at = time.monotonic() + self.stage_s
        while not self.gate(stage) or time.monotonic() < ends_at:
            if cancelled():
                on_event(Report(stage.digest, StageState.FAILED))
                raise StageCancelledError("cancelled")
            time.sleep(0.01)
        if self.error is not None:
            raise self.error
        on_event(Report(stage.digest, StageState.RUNNING, 1, 2, "steps", 0.5))
        with tempfile.TemporaryDirectory() as name:
            self.store.publish(stage.key(tenant), Path(name), self.make(stage, tenant, Path(name)))
        self.executed.append(stage.kind.value)
        on_event(Report(stage.digest, StageState.DONE, 2, 2, "steps", 1.0))


def quick(config: ServerConfig, store: ArtifactStore) -> QuickExecutor:
    """The factory that the Serve test names by its import path."""
    return QuickExecutor(store, stage_s=0.05)


def checkpoint(folder: Path) -> Path:
    """A folder that passes for a checkpoint as long as nobody loads it."""
    (folder / "controlnet_canny").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "none"}))
    return folder
