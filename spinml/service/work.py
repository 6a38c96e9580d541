"""One claimed run, carried out: its reports into the database, its end as its final state."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from spinml.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    ClusterLostError,
    SpinMLError,
    StageCancelledError,
)
from spinml.logs import bound, describe
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.manifest import Manifest
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import Stage
from spinml.service import metrics
from spinml.service.database import UNAVAILABLE, Database
from spinml.service.leases import (
    Claim,
    LeaseLostError,
    StageReport,
    finish_run,
    release_run,
    report_stage,
)
from spinml.service.models import RunState, StageState
from spinml.service.plans import plan_from_json

REPORT_EVERY_S = 0.5
DATABASE_PATIENCE_S = 300.0
_log = logging.getLogger(__name__)

OnReport = Callable[[StageReport], None]


class Execute(Protocol):
    """Carries out a plan: reports every stage and raises StageCancelledError once ``cancelled``."""

    def __call__(
        self,
        plan: Plan,
        tenant: str,
        run_id: str,
        on_event: OnReport,
        cancelled: Callable[[], bool],
        /,
    ) -> None: ...


class RunWork:
    """Carries out one claim.

    Between :meth:`abandon` (the lease went to another), :meth:`release` (this dispatcher stops)
    and :meth:`cancel` (the owner asked) the run's stage only sees that it shall end.
    """

    def __init__(
        self,
        database: Database,
        store: ArtifactStore,
        owner: str,
        claim: Claim,
        execute: Execute,
    ) -> None:
        self.claim = claim
        self._database = database
        self._store = store
        self.owner = owner
        self._execute = execute
        self._ending: Callable[[], None] | None = None
        self._stages: Mapping[str, Stage] = {}
        self._reported: dict[str, tuple[StageState, float]] = {}
        self.thread = threading.Thread(target=self._run, name=f"run-{claim.run_id}", daemon=True)

    def cancel(self) -> None:
        self._ending = self._ending or self._finish_cancelled

    def release(self) -> None:
        self._ending = self._ending or self._release

    def abandon(self) -> None:
        self._ending = _nothing

    def _run(self) -> None:
        with bound(run=str(self.claim.run_id)):
            try:
                self._patiently(self._outcome())
            except LeaseLostError:
                _log.warning("another dispatcher has the run now")
            except UNAVAILABLE as error:  # the lease passes, and another adopts the run
                _log.error("the database stays away: %s", type(error).__name__)

    def _outcome(self) -> Callable[[], None]:
        """Execute the plan; how to write down what became of it."""
        claim = self.claim
        try:
            plan = plan_from_json(claim.plan)
            self._stages = plan.stages
            self._execute(plan, claim.tenant, str(claim.run_id), self._report, self._must_end)
        except StageCancelledError as error:
            return self._ending or self._finisher(RunState.FAILED, error.as_dict())
        except ClusterLostError as error:  # not the run's fault: its lease passes, to be adopted
            _log.error("the run is given up: %s", error.code)
            return self._ending or _nothing
        except (LeaseLostError, *UNAVAILABLE):
            raise
        except SpinMLError as error:
            _log.error("the run failed: %s", error.code)
            return self._ending or self._finisher(RunState.FAILED, error.as_dict())
        except Exception as error:  # noqa: BLE001 - the run fails, the dispatcher goes on
            _log.error("the run failed: unexpected %s", describe(error))
            return self._ending or self._finisher(RunState.FAILED, _internal(error))
        return self._finisher(RunState.SUCCEEDED)

    def _must_end(self) -> bool:
        return self._ending is not None

    def _report(self, report: StageReport) -> None:
        """Write a report; of those that only count up, at most two a second."""
        state = StageState(report.state)
        if state is StageState.FAILED and self._must_end():
            state = StageState.CANCELLED
        before, at = self._reported.get(report.digest, (None, 0.0))
        is_progress = state is before
        if is_progress and time.monotonic() - at < REPORT_EVERY_S:
            return
        self._reported[report.digest] = (state, time.monotonic())
        manifest = self._manifest(report.digest, state)

        def write() -> None:
            run_id = self.claim.run_id
            told = report_stage(self._database, self.owner, run_id, report, state, manifest)
            if told and state not in (StageState.WAITING, StageState.RUNNING):
                self._count(report, state, manifest)

        if not is_progress:
            self._patiently(write)
            return
        try:
            write()
        except UNAVAILABLE as error:  # the next report tells more
            _log.warning("a report is lost: %s", type(error).__name__)

    def _count(self, report: StageReport, state: StageState, manifest: Manifest | None) -> None:
        metrics.stage_ended(
            self._stages[report.digest].kind,
            state,
            self.claim.tenant,
            seconds=report.seconds,
            gpus=self.claim.gpus[report.digest],
            manifest=manifest,
        )

    def _manifest(self, digest: str, state: StageState) -> Manifest | None:
        """Of an artifact that is there now; what is missed here, the next stocktaking finds."""
        if state not in (StageState.DONE, StageState.REUSED):
            return None
        key = self._stages[digest].key(self.claim.tenant)
        try:
            return self._store.read_manifest(key)
        except ArtifactNotFoundError:  # gone, and nothing that was missing needed it
            return None
        except ArtifactError as error:
            _log.warning("a manifest is not read: %s", error.code)
            return None

    def _finisher(self, state: RunState, error: dict[str, Any] | None = None) -> Callable[[], None]:
        return lambda: finish_run(self._database, self.owner, self.claim.run_id, state, error)

    def _finish_cancelled(self) -> None:
        self._finisher(RunState.CANCELLED)()

    def _release(self) -> None:
        release_run(self._database, self.owner, self.claim.run_id)

    def _patiently(self, write: Callable[[], None]) -> None:
        """Write, waiting for a database that is away for a while."""
        for attempt in Retrying(
            retry=retry_if_exception_type(UNAVAILABLE),
            wait=wait_random_exponential(multiplier=0.2, max=10),
            stop=stop_after_delay(DATABASE_PATIENCE_S),
            reraise=True,
        ):
            with attempt:
                write()


def _nothing() -> None:
    """Leave the run to whoever has it now."""


def _internal(error: Exception) -> dict[str, Any]:
    """What the owner sees of an error that nobody expected: its message may hold anything."""
    return {
        "code": "internal",
        "message": f"something unexpected failed in the server: {type(error).__name__}",
        "remedy": "tell the operator the run's id",
        "details": {},
    }
