"""What stands at the executor's boundary in a load test: stages that take a while and do nothing.

``SPINML_LOADTEST_STAGE_S`` in the environment is the longest stage in seconds (default 0).
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from spinml.config import ServerConfig
from spinml.errors import StageCancelledError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import NodeCache
from spinml.pipeline.execution import Workplace, task_of
from spinml.pipeline.plan import Plan, missing
from spinml.pipeline.stages import ArtifactKey, Stage, StageContext, StageFunction, StageKind
from spinml.service.models import StageState
from spinml.service.work import Execute, OnReport

STAGE_S = "SPINML_LOADTEST_STAGE_S"
IN_PROCESS = "spinml.loadtest.executor:in_process"
ON_RAY = "spinml.loadtest.executor:on_ray"
_STEP_S = 0.05


def idle(context: StageContext) -> dict[str, Any]:
    """A StageFunction: takes its time, drawn under the stage's digest, and writes one file."""
    longest_s = float(os.environ.get(STAGE_S, "0"))
    ends_at = time.monotonic() + longest_s * random.Random(context.stage.digest).uniform(0.3, 1.0)
    steps = 0
    while (left_s := ends_at - time.monotonic()) > 0:
        time.sleep(min(_STEP_S, left_s))
        steps += 1
        context.progress(steps, steps + 1, "steps")
    (context.out / "result").write_bytes(context.stage.digest.encode())
    return {}


@dataclass(frozen=True)
class Report:
    """A :class:`spinml.service.leases.StageReport`."""

    digest: str
    state: StageState
    done: int = 0
    total: int = 0
    unit: str = ""
    seconds: float = 0.0


class InProcess:
    """An Execute without Ray: as the real executor, each stage by one run at a time."""

    def __init__(self, config: ServerConfig, store: ArtifactStore, function: StageFunction) -> None:
        """Args: function: executes every stage."""
        self._workplace = Workplace(store, config, NodeCache())
        self._function = function
        self._locks: WeakValueDictionary[ArtifactKey, _Lock] = WeakValueDictionary()
        self._locking = threading.Lock()

    def __call__(
        self,
        plan: Plan,
        tenant: str,
        run_id: str,
        on_event: OnReport,
        cancelled: Callable[[], bool],
    ) -> None:
        store = self._workplace.store
        absent = {s.digest for s in missing(plan, lambda s: store.exists(s.key(tenant)))}
        for stage in plan:
            lock = self._lock(stage.key(tenant))
            with lock.held:
                if stage.digest not in absent or store.exists(stage.key(tenant)):
                    on_event(Report(stage.digest, StageState.REUSED))
                else:
                    self._execute(plan, stage, tenant, on_event, cancelled)

    def _lock(self, key: ArtifactKey) -> _Lock:
        with self._locking:
            return self._locks.setdefault(key, _Lock())

    def _execute(
        self,
        plan: Plan,
        stage: Stage,
        tenant: str,
        on_event: OnReport,
        cancelled: Callable[[], bool],
    ) -> None:
        began = time.monotonic()

        def report(state: StageState, done: int = 0, total: int = 0, unit: str = "") -> None:
            seconds = time.monotonic() - began
            on_event(Report(stage.digest, state, done, total, unit, seconds))

        def progress(done: int, total: int, unit: str) -> None:
            if cancelled():
                raise StageCancelledError("cancelled")
            report(StageState.RUNNING, done, total, unit)

        report(StageState.RUNNING)
        try:
            self._workplace.execute(task_of(plan, stage, tenant), self._function, progress)
        except Exception:
            report(StageState.FAILED)
            raise
        report(StageState.DONE)


class _Lock:
    """A lock that goes when nobody holds or wants it."""

    def __init__(self) -> None:
        self.held = threading.Lock()


def in_process(config: ServerConfig, store: ArtifactStore) -> Execute:
    """Idle stages in the dispatcher itself: an ExecuteFactory."""
    return InProcess(config, store, idle)


def on_ray(config: ServerConfig, store: ArtifactStore) -> Execute:
    """Idle stages on the real executor's actors: an ExecuteFactory."""
    from spinml.distributed.executor import Executor
    from spinml.distributed.operations import Operations

    functions = dict.fromkeys(StageKind, "spinml.loadtest.executor:idle")
    return Executor(config, store, Operations(functions=functions)).run
