"""A sweep's runs on the cluster that this process is connected to, without a service."""

from __future__ import annotations

import json
from pathlib import Path

from spinml.config import ServerConfig
from spinml.distributed.events import StageEvent, StageState
from spinml.distributed.executor import Executor
from spinml.distributed.operations import Operations
from spinml.evaluation import TENANT, stored_plan
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import StageKind
from spinml.privacy.sanitizer import Sanitized
from spinml.report.model import synthetic_objects, utility_figure
from spinml.sweep.results import StageCost
from spinml.tradeoffs.carried import Carried, OnNews
from spinml.tradeoffs.trials import Trial


class ClusterCarrier:
    """One executor for all trials: what several share is executed once."""

    def __init__(self, config: ServerConfig, operations: Operations) -> None:
        store = ArtifactStore.from_url(config.store.artifacts, config.store.s3_endpoint)
        self._executor = Executor(config, store, operations)

    def carry_out(self, trial: Trial, sanitized: Sanitized, into: Path, tell: OnNews) -> Carried:
        """See :class:`spinml.tradeoffs.carried.Carrier`."""
        store, executed = self._executor.store, []
        plan = stored_plan(store, self._executor.config, sanitized)

        def on_event(event: StageEvent) -> None:
            if event.state is StageState.DONE:
                executed.append(event.digest)
            tell(event)

        self._executor.run(plan, TENANT, trial.id, on_event)
        model, measured = (
            store.fetch(plan.result(role).key(TENANT), into / role)
            for role in ("export", "measure")
        )
        task = sanitized.bundle.request.task
        figures = json.loads((measured / "figures.json").read_text())
        manifest = store.read_manifest(plan.result("measure").key(TENANT))
        first = {sample["label"]: sample["file"] for sample in reversed(figures["samples"])}
        return Carried(
            model=model / "model.onnx",
            embeddings=measured / "embeddings.npz",
            synthetic_utility=manifest.figures[utility_figure(task)],
            synthetic_objects=synthetic_objects(task, figures),
            samples={label: (measured / file).read_bytes() for label, file in first.items()},
            stages=tuple(self._costs(plan)),
            executed=tuple(executed),
        )

    def give_up(self, trial: Trial) -> bool:
        """Never: what was begun here is nearly through, and others may share its stages."""
        return False

    def close(self) -> None:
        """End the executor's workers."""
        self._executor.close()

    def _costs(self, plan: Plan) -> list[StageCost]:
        store, costs = self._executor.store, []
        for stage in plan:
            key = stage.key(TENANT)
            if stage.kind is not StageKind.SEGMENT and store.exists(key):
                seconds = float(store.read_manifest(key).figures["seconds"])
                costs.append(StageCost(digest=stage.digest, kind=stage.kind.value, seconds=seconds))
        return costs
