"""Runs: the missing stages of a plan, executed on Ray as their inputs and resources allow."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from spinml.config import ServerConfig
from spinml.distributed.board import Begun, BoardProgress, Standing, start_board
from spinml.distributed.events import OnEvent, StageState, stage_event
from spinml.distributed.failures import stage_error, worker_died
from spinml.distributed.operations import Operations
from spinml.distributed.resources import Demand, cluster_capacity, demand_of
from spinml.distributed.workers import IDLE_S, Lease, WorkerPool, start_worker
from spinml.errors import ClusterLostError, StageCancelledError, StageError
from spinml.logs import bound
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import NodeCache
from spinml.pipeline.execution import Workplace, task_of
from spinml.pipeline.plan import Plan, missing
from spinml.pipeline.stages import ArtifactKey, Stage

logger = logging.getLogger(__name__)

TICK_S = 0.1
MAX_RETRIES = 2
"""How often a stage is started again after its worker died."""
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
        run = _Run(self, plan, tenant, run_id, stages, on_event)
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


@dataclass(eq=False)
class _Attempt:
    """A stage that was given to a worker, which begins as soon as it has a node and a process."""

    stage: Stage
    lease: Lease
    token: str
    result: Any
    """The ObjectRef of the worker's call."""
    began_at: float | None = None
    """None: it still waits for a node, or for its process to start."""
    told: Standing | None = None

    @property
    def seconds(self) -> float:
        return 0.0 if self.began_at is None else time.monotonic() - self.began_at


class _Run:
    """One run's state: stages that wait, and attempts that run."""

    def __init__(
        self,
        executor: Executor,
        plan: Plan,
        tenant: str,
        run_id: str,
        stages: list[Stage],
        on_event: OnEvent,
    ) -> None:
        self.executor = executor
        self.plan = plan
        self.tenant = tenant
        self.run_id = run_id
        self.waiting: dict[str, Stage] = {stage.digest: stage for stage in stages}
        self.running: dict[str, _Attempt] = {}
        self.deaths: dict[str, int] = {}
        self.on_event = on_event

    def unfinished(self) -> bool:
        return bool(self.waiting or self.running)

    def announce(self) -> None:
        """Tell of every stage whether it waits or is reused."""
        for stage in self.plan:
            waits = stage.digest in self.waiting
            self.on_event(stage_event(stage, StageState.WAITING if waits else StageState.REUSED))

    # Starting ----------------------------------------------------------------------------------

    def start_ready(self) -> None:
        """Start every waiting stage that has its inputs, as long as there are resources."""
        for stage in list(self.waiting.values()):
            inputs = set(stage.inputs.values())
            if inputs & (set(self.waiting) | set(self.running)):
                continue
            if self.executor.claims.take(stage.key(self.tenant)):
                self._start_claimed(stage)

    def _start_claimed(self, stage: Stage) -> None:
        """Start a stage, unless another run has just made its artifact or it does not fit yet."""
        key = stage.key(self.tenant)
        attempt = None
        try:
            if self.executor.store.exists(key):
                del self.waiting[stage.digest]
                self.on_event(stage_event(stage, StageState.REUSED))
                return
            attempt = self._attempt(stage)
        finally:
            if attempt is None:
                self.executor.claims.give_back(key)
        if attempt is not None:
            del self.waiting[stage.digest]
            self.running[stage.digest] = attempt

    def _attempt(self, stage: Stage) -> _Attempt | None:
        lease = self.executor.pool.acquire(self.executor.demand(stage))
        if lease is None:
            return None
        board, token = self.executor.board, uuid.uuid4().hex
        task = task_of(self.plan, stage, self.tenant, self.run_id)
        result = lease.actor.execute.remote(task, BoardProgress(board, token))
        return _Attempt(stage, lease, token, result)

    # Finishing ---------------------------------------------------------------------------------

    def collect(self, timeout_s: float) -> None:
        """Wait at most ``timeout_s`` for attempts to end, and take what they made or raised."""
        if not self.running:
            time.sleep(timeout_s)
            return
        by_result = {attempt.result: attempt for attempt in self.running.values()}
        ended, _ = ray.wait(list(by_result), num_returns=1, timeout=timeout_s)
        if ended:
            self.tell_progress()  # the last reports came before the end did
        for result in ended:
            self._finish(by_result[result])

    def _finish(self, attempt: _Attempt) -> None:
        stage = attempt.stage
        try:
            ray.get(attempt.result)
        except Exception as error:
            died = worker_died(error)
            self._put_down(attempt, broken=died)
            # A worker that died while it was idle, as on a node that was lost, is no attempt.
            untried = attempt.lease.warm and attempt.began_at is None
            if died and (untried or self.deaths.get(stage.digest, 0) < MAX_RETRIES):
                self._try_again(stage, counts=not untried)
                return
            self.on_event(stage_event(stage, StageState.FAILED, attempt.told, attempt.seconds))
            raise stage_error(stage, error) from error
        self._put_down(attempt, broken=False)
        self.on_event(stage_event(stage, StageState.DONE, attempt.told, attempt.seconds))

    def _try_again(self, stage: Stage, *, counts: bool) -> None:
        self.deaths[stage.digest] = self.deaths.get(stage.digest, 0) + counts
        with bound(stage=stage.digest):
            logger.warning("the worker of a stage %s died; starting it again", stage.kind)
        self.waiting = {stage.digest: stage, **self.waiting}
        self.on_event(stage_event(stage, StageState.WAITING))

    def _put_down(self, attempt: _Attempt, *, broken: bool) -> None:
        """Give back all that an attempt held."""
        del self.running[attempt.stage.digest]
        self.executor.claims.give_back(attempt.stage.key(self.tenant))
        self.executor.board.close.remote(attempt.token)
        self.executor.pool.release(attempt.lease, broken=broken)

    def tell_progress(self) -> None:
        """Tell of every stage that began or got further."""
        if not self.running:
            return
        attempts = list(self.running.values())
        tokens = [attempt.token for attempt in attempts]
        found: dict[str, Begun] = ray.get(self.executor.board.begun.remote(tokens))
        for attempt in attempts:
            begun = found.get(attempt.token)
            if begun is None:
                continue
            is_new = attempt.began_at is None or begun.standing not in (None, attempt.told)
            if attempt.began_at is None:
                attempt.began_at = time.monotonic() - begun.seconds
            if is_new:
                attempt.told = begun.standing or attempt.told
                self.on_event(
                    stage_event(attempt.stage, StageState.RUNNING, attempt.told, attempt.seconds)
                )

    def stop(self) -> None:
        """Stop what still runs: workers are told, and ended when they do not listen."""
        for attempt in self.running.values():
            self.executor.board.close.remote(attempt.token)
        results = [attempt.result for attempt in self.running.values()]
        ended: list[Any] = []
        if results:
            ended, _ = ray.wait(results, num_returns=len(results), timeout=self.executor.grace_s)
        attempts = list(self.running.values())
        for attempt in attempts:  # all of them first: telling may fail, and what is held is shared
            self._put_down(attempt, broken=attempt.result not in ended)
        for attempt in attempts:
            self.on_event(
                stage_event(attempt.stage, StageState.FAILED, attempt.told, attempt.seconds)
            )


def require_ray() -> None:
    """Refuse to go on without a cluster.

    Raises:
        StageError: this process is not connected to Ray.
    """
    if not ray.is_initialized():
        raise StageError("not connected to Ray", remedy="call spinml.distributed.cluster.connect")
