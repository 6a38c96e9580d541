"""Runs: the missing stages of a plan, executed on Ray as their inputs and resources allow."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

import ray
from ray.exceptions import RayError

from spinml.config import ServerConfig
from spinml.distributed.board import start_board
from spinml.distributed.events import OnEvent
from spinml.distributed.operations import Operations
from spinml.distributed.resources import Demand, cluster_capacity, demand_of
from spinml.distributed.run import Run
from spinml.distributed.workers import IDLE_S, WorkerPool, start_worker
from spinml.errors import ClusterLostError, StageCancelledError, StageError
from spinml.logs import bound
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import NodeCache
from spinml.pipeline.execution import Workplace
from spinml.pipeline.plan import Plan, missing
from spinml.pipeline.stages import ArtifactKey, Stage

logger = logging.getLogger(__name__)

TICK_S = 0.1
GRACE_S = 5.0
"""How long a cancelled stage may go on until its worker is ended."""


class Executor:
    """Executes runs on the Ray cluster this process is connected to.

    One for each process; :meth:`run` is called from as many threads as there are runs at once.
    They share warm workers, and a stage that several runs want is executed once.
    """

    def __init__(
        self,
        config: ServerConfig,
        store: ArtifactStore,
        operations: Operations | None = None,
        *,
        cache: NodeCache | None = None,
        idle_s: float = IDLE_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self.config = config
        self.store = store
        self.operations = operations or Operations()
        self.workplace = Workplace(store, config, cache or NodeCache())
        self.grace_s = grace_s
        self.board = start_board()
        self.pool = WorkerPool(
            start=lambda resources: start_worker(self.workplace, self.operations, resources),
            capacity=lambda: cluster_capacity(config.resources.node_groups).total,
            present=lambda: cluster_capacity().total,
            idle_s=idle_s,
        )
        self.claims = Claims()

    def run(
        self,
        plan: Plan,
        tenant: str,
        run_id: str,
        on_event: OnEvent,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Execute what is missing of ``plan``; returns when every result is in the store.

        Args:
            run_id: for the log alone.
            on_event: called from this thread at every change of a stage.
            cancelled: asked about ten times a second.

        Raises:
            InfeasibleResourcesError: the cluster can never hold a stage; nothing was started.
            ArtifactNotFoundError: a sanitized segment is not in the store; nothing was started.
            StageCancelledError: ``cancelled`` said so; the artifacts of finished stages stay.
            SpinMLError: what a stage raised, as it raised it; the others were stopped.
            StageError: a stage failed otherwise, or its worker died three times.
            ClusterLostError: Ray went away, which is no stage's fault.
        """
        try:
            self._run(plan, tenant, run_id, on_event, cancelled)
        except RayError as error:
            raise ClusterLostError(
                f"the Ray cluster went away under the run: {type(error).__name__}",
                remedy="start it again: what is done stays, and the run goes on",
            ) from error

    def _run(
        self,
        plan: Plan,
        tenant: str,
        run_id: str,
        on_event: OnEvent,
        cancelled: Callable[[], bool],
    ) -> None:
        stages = missing(plan, lambda stage: self.store.exists(stage.key(tenant)))
        self.check_feasible(stages)
        run = Run(self, plan, tenant, run_id, stages, on_event)
        with bound(run=run_id):
            logger.info("%d of %d stages to execute", len(stages), len(plan.stages))
            try:
                run.announce()
                while run.unfinished():
                    if cancelled():
                        raise StageCancelledError("the run was cancelled")
                    run.start_ready()
                    run.collect(TICK_S)
                    run.tell_progress()
            finally:
                run.stop()

    def check_feasible(self, stages: Iterable[Stage]) -> None:
        """Refuse stages that would wait for ever.

        Raises:
            InfeasibleResourcesError: names the stage, what it wants and the most there is.
        """
        capacity = cluster_capacity(self.config.resources.node_groups)
        for stage in stages:
            capacity.check(self.demand(stage), f"the stage {stage.kind}")

    def demand(self, stage: Stage) -> Demand:
        """What executing ``stage`` holds."""
        plain = stage.kind in self.operations.functions
        return demand_of(stage.kind, self.config, plain=plain, detects=stage.detects)

    def close(self) -> None:
        """End the warm workers and the board. Runs must have ended."""
        self.pool.close()
        ray.kill(self.board)


class Claims:
    """Which artifacts are being made by a run of this process: each by one run at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[ArtifactKey] = set()

    def take(self, key: ArtifactKey) -> bool:
        """Claim ``key``; False when another run has it."""
        with self._lock:
            if key in self._taken:
                return False
            self._taken.add(key)
            return True

    def give_back(self, key: ArtifactKey) -> None:
        """Let others claim ``key``."""
        with self._lock:
            self._taken.discard(key)


def require_ray() -> None:
    """Refuse to go on without a cluster.

    Raises:
        StageError: this process is not connected to Ray.
    """
    if not ray.is_initialized():
        raise StageError("not connected to Ray", remedy="call spinml.distributed.cluster.connect")
