"""Runs in the database, seen by a dispatcher: claim under a lease, report, finish.

Every function of a claimed run names the lease's owner and refuses once the lease went to another:
what a dispatcher that was taken for dead still writes changes nothing.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session, selectinload

from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import StageKind
from spinml.service.database import Database
from spinml.service.journal import record_stage, record_state, settle_stages
from spinml.service.models import Run, RunStage, RunState, StageState, now
from spinml.service.plans import plan_from_json


@dataclass(frozen=True)
class Claim:
    """A run that this dispatcher holds."""

    run_id: uuid.UUID
    tenant: str
    plan: Plan
    adopted: bool
    """Whether another dispatcher had begun it."""


class StageReport(Protocol):
    """How far a stage is; :class:`spinml.distributed.events.StageEvent` is one."""

    @property
    def digest(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def unit(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class LeaseLostError(Exception):
    """Another dispatcher has the run now, or it is gone: stop working on it."""


def claim_run(database: Database, owner: str, lease_s: float) -> Claim | None:
    """Take the oldest run that is queued, or running under a lease that has passed."""
    with database.write() as session:
        abandoned = and_(Run.state == RunState.RUNNING, Run.lease_until < now())
        run = session.scalar(
            select(Run)
            .where(or_(Run.state == RunState.QUEUED, abandoned))
            .order_by(Run.created_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if run is None:
            return None
        adopted = run.state == RunState.RUNNING
        run.lease_owner = owner
        run.lease_until = now() + timedelta(seconds=lease_s)
        if not adopted:
            record_state(session, run, RunState.RUNNING)
        return Claim(run.id, run.tenant_id, plan_from_json(run.plan), adopted)


def renew_lease(database: Database, owner: str, run_id: uuid.UUID, lease_s: float) -> bool:
    """Keep a run for ``lease_s`` more seconds; whether its owner asked to cancel it.

    Raises:
        LeaseLostError: the run is no longer this dispatcher's.
    """
    with database.write() as session:
        run = _held(session, owner, run_id)
        run.lease_until = now() + timedelta(seconds=lease_s)
        return run.cancel_requested


def report_stage(
    database: Database, owner: str, run_id: uuid.UUID, report: StageReport, state: StageState
) -> None:
    """Write how far a stage is, with its event; what changes nothing is not told.

    Raises:
        LeaseLostError: the run is no longer this dispatcher's.
    """
    with database.write() as session:
        run = _held(session, owner, run_id)
        stage = session.get_one(RunStage, (run_id, report.digest))
        waits_still = state == stage.state == StageState.WAITING
        made_by_this_run = state is StageState.REUSED and stage.state == StageState.DONE
        if stage.kind == StageKind.SEGMENT or waits_still or made_by_this_run:
            return
        stage.state = state
        stage.done, stage.total, stage.unit = report.done, report.total, report.unit[:24]
        stage.seconds = report.seconds
        record_stage(session, run, stage)


def finish_run(
    database: Database,
    owner: str,
    run_id: uuid.UUID,
    state: RunState,
    error: dict[str, Any] | None = None,
) -> None:
    """Put a run into its final ``state``.

    Raises:
        LeaseLostError: the run is no longer this dispatcher's.
    """
    with database.write() as session:
        run = _held(session, owner, run_id)
        settle_stages(session, run, state)
        record_state(session, run, state, error)


def release_run(database: Database, owner: str, run_id: uuid.UUID) -> None:
    """Leave a running run to whoever adopts it first.

    Raises:
        LeaseLostError: the run is no longer this dispatcher's.
    """
    with database.write() as session:
        _held(session, owner, run_id).lease_until = now() - timedelta(seconds=1)


def _held(session: Session, owner: str, run_id: uuid.UUID) -> Run:
    run = session.scalar(
        select(Run)
        .where(Run.id == run_id, Run.lease_owner == owner, Run.state == RunState.RUNNING)
        .options(selectinload(Run.stages))
        .with_for_update()
    )
    if run is None:
        raise LeaseLostError
    return run
