"""One stage, executed: fetch its inputs, run its function, publish what it wrote."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spinml.config import ServerConfig
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import NodeCache
from spinml.pipeline.filesystems import no_room
from spinml.pipeline.plan import Plan
from spinml.pipeline.scratch import scratch, sweep
from spinml.pipeline.stages import ArtifactKey, Progress, Stage, StageContext, StageFunction

NODE_FULL = "the disk of a worker's node is full"


@dataclass(frozen=True)
class StageTask:
    """A stage of a tenant's plan with the keys of its inputs, by role."""

    stage: Stage
    tenant: str
    inputs: Mapping[str, ArtifactKey]
    run_id: str = ""
    """For the log alone: of the run that has the stage executed; others may share it."""

    @property
    def key(self) -> ArtifactKey:
        """Where the result goes."""
        return self.stage.key(self.tenant)


def task_of(plan: Plan, stage: Stage, tenant: str, run_id: str = "") -> StageTask:
    """The task that executes ``stage`` of ``plan`` for ``tenant``."""
    inputs = {role: plan.stages[digest].key(tenant) for role, digest in stage.inputs.items()}
    return StageTask(stage, tenant, inputs, run_id)


@dataclass(frozen=True)
class Workplace:
    """What every stage is executed with; pickles into workers."""

    store: ArtifactStore
    config: ServerConfig
    cache: NodeCache

    def fetch_inputs(self, task: StageTask) -> dict[str, Path]:
        """Role → local folder of the input artifact; what killed processes left goes first."""
        sweep()
        return {role: self.cache.fetch(self.store, key) for role, key in task.inputs.items()}

    def execute(self, task: StageTask, function: StageFunction, progress: Progress) -> None:
        """Run one stage; its artifact becomes visible as the last thing that happens.

        Raises:
            ArtifactError: an input is gone or damaged, or the store cannot be written.
            StorageFullError: there is no room in the store or on this node's disk.
            Whatever ``function`` raises; nothing is published then.
        """
        started = time.monotonic()
        inputs = self.fetch_inputs(task)
        try:
            with scratch(task.stage.kind) as out:
                context = StageContext(task.stage, inputs, out, self.config, progress)
                figures = dict(function(context))
                figures["seconds"] = round(time.monotonic() - started, 3)
                self.store.publish(task.key, out, figures)
        except OSError as error:
            raise no_room(error, NODE_FULL) or error from None
