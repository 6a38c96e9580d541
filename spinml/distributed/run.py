"""One run on the executor's workers: which stages wait, which are at work, what came of them."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from spinml.distributed.board import Begun, BoardProgress, Standing
from spinml.distributed.events import OnEvent, StageState, stage_event
from spinml.distributed.failures import raised_on_purpose, stage_error, worker_died
from spinml.distributed.workers import Lease
from spinml.logs import bound
from spinml.pipeline.execution import task_of
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import Stage

if TYPE_CHECKING:
    from spinml.distributed.executor import Executor

logger = logging.getLogger(__name__)

MAX_RETRIES = 2
"""How often a stage is started again after its worker died."""


@dataclass(eq=False)
class Attempt:
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


class Run:
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
        self.running: dict[str, Attempt] = {}
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

    def _attempt(self, stage: Stage) -> Attempt | None:
        lease = self.executor.pool.acquire(self.executor.demand(stage))
        if lease is None:
            return None
        board, token = self.executor.board, uuid.uuid4().hex
        task = task_of(self.plan, stage, self.tenant, self.run_id)
        result = lease.actor.execute.remote(task, BoardProgress(board, token))
        return Attempt(stage, lease, token, result)

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

    def _finish(self, attempt: Attempt) -> None:
        stage = attempt.stage
        try:
            ray.get(attempt.result)
        except Exception as error:
            died = worker_died(error)
            self._put_down(attempt, broken=died)
            # A worker that died while it was idle, as on a node that was lost, is no attempt.
            untried = attempt.lease.warm and attempt.began_at is None
            again = untried or self.deaths.get(stage.digest, 0) < MAX_RETRIES
            if died and again and raised_on_purpose(error) is None:
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

    def _put_down(self, attempt: Attempt, *, broken: bool) -> None:
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
