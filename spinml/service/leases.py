"""Runs in the database, seen by a dispatcher: claim under a lease, report, finish.

Every function of a claimed run names the lease's owner and refuses once the lease went to another:
what a dispatcher that was taken for dead still writes changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import select, update
from sqlalchemy.orm import Session, selectinload

from spinml.errors import StageError
from spinml.pipeline.manifest import Manifest
from spinml.pipeline.stages import StageKind, StageStanding
from spinml.service.database import Database
from spinml.service.journal import record_stage, record_state, settle_stages
from spinml.service.ledger import note_stored
from spinml.service.locks import lock_queue
from spinml.service.models import Event, Run, RunStage, RunState, StageState, now
from spinml.service.plans import still_needs_bundle
from spinml.service.queue import next_run, serve

MAX_ADOPTIONS = 5
"""How often a run is adopted while none of its stages gets done; it may be what kills them."""


@dataclass(frozen=True)
class Claim:
    """A run that this dispatcher holds."""

    run_id: uuid.UUID
    tenant: str
    plan: dict[str, Any]
    """As :func:`spinml.service.plans.plan_to_json` made it. Whoever executes it reads it: one that
    cannot be read fails its run, and must not keep the queue from going on."""
    adopted: bool
    """Whether another dispatcher had begun it."""
    queued_s: float
    """How long it waited to be begun; 0 of an adopted one."""
    gpus: Mapping[str, float]
    """Digest of a stage → GPUs that it holds while it is executed."""


class StageReport(StageStanding, Protocol):
    """How far a stage is, to be stored; :class:`spinml.distributed.events.StageEvent` is one."""

    @property
    def digest(self) -> str: ...
    @property
    def seconds(self) -> float: ...


class LeaseLostError(Exception):
    """Another dispatcher has the run now, or it is gone: stop working on it."""


def claim_run(
    database: Database, owner: str, lease_s: float, at: datetime | None = None
) -> Claim | None:
    """Take a run whose dispatcher's lease has passed, else the one whose turn it is.

    Args:
        at: the time that it is; None asks the clock.
    """
    at = at or now()
    with database.write() as session:
        lock_queue(session)
        run = _abandoned(session, at)
        adopted = run is not None
        run = run or next_run(session, at)
        if run is None:
            return None
        if run.lease_owner is not None or not adopted:  # else it was released on purpose
            record_state(session, run, RunState.RUNNING)
        run.lease_owner = owner
        run.lease_until = at + timedelta(seconds=lease_s)
        run.claimed_at = at
        return Claim(
            run.id,
            run.tenant_id,
            run.plan,
            adopted,
            queued_s=0.0 if adopted else max(0.0, (at - run.created_at).total_seconds()),
            gpus={stage.digest: stage.gpus for stage in run.stages},
        )


def _abandoned(session: Session, at: datetime) -> Run | None:
    """The oldest run whose lease has passed, locked. One that ended its dispatcher again and again,
    or that nobody could finish a stage of, fails here."""
    query = (
        select(Run)
        .where(Run.state == RunState.RUNNING, Run.lease_until < at)
        .options(selectinload(Run.stages))
        .order_by(Run.created_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    while (run := session.scalar(query)) is not None:
        begun = _begun_since_progress(session, run)
        if run.lease_owner is None or begun <= MAX_ADOPTIONS:
            return run
        error = StageError(
            f"its dispatcher went away {begun} times before a stage was done",
            remedy="tell the operator the run's id; the dispatcher's log has the reason",
        )
        _finish(session, run, RunState.FAILED, error.as_dict(), at)
        session.flush()
    return None


def _begun_since_progress(session: Session, run: Run) -> int:
    """How often the run was begun or adopted since a stage of it was last done."""
    events = select(Event.seq).where(Event.run_id == run.id)
    done = Event.data[("stage", "state")].as_string() == StageState.DONE
    last = session.scalar(
        events.where(Event.kind == "stage", done).order_by(Event.seq.desc()).limit(1)
    )
    running = Event.data["state"].as_string() == RunState.RUNNING
    begun = events.where(Event.kind == "state", running, Event.seq > (last or 0))
    return len(session.scalars(begun).all())


def renew_leases(
    database: Database, owners: Mapping[uuid.UUID, str], lease_s: float
) -> dict[uuid.UUID, bool]:
    """Keep runs for ``lease_s`` more seconds, all in one transaction: each of its own would have to
    wait for the database's lock, and many runs under way would cost their own leases.

    Args:
        owners: by run, as claimed.

    Returns:
        Run → whether its owner asked to cancel it. A run that is no longer this dispatcher's is
        not in it.
    """
    if not owners:
        return {}
    with database.write() as session:
        rows = session.execute(
            select(Run.id, Run.lease_owner, Run.cancel_requested)
            .where(Run.id.in_(list(owners)), Run.state == RunState.RUNNING)
            .order_by(Run.id)
            .with_for_update()
        )
        held = {run_id: asked for run_id, owner, asked in rows if owner == owners[run_id]}
        session.execute(
            update(Run)
            .where(Run.id.in_(list(held)))
            .values(lease_until=now() + timedelta(seconds=lease_s))
        )
    return held


def report_stage(
    database: Database,
    owner: str,
    run_id: uuid.UUID,
    report: StageReport,
    state: StageState,
    manifest: Manifest | None = None,
) -> bool:
    """Write how far a stage is, with its event and its charge; what changes nothing is not told.

    Args:
        manifest: of the stage's artifact, once it is in the store.

    Returns:
        Whether it was told.

    Raises:
        LeaseLostError: the run is no longer this dispatcher's.
    """
    with database.write() as session:
        run = _held(session, owner, run_id)
        if manifest is not None:
            note_stored(session, run.tenant_id, manifest)
        stage = session.get_one(RunStage, (run_id, report.digest))
        is_known = state == stage.state and state in (StageState.WAITING, StageState.REUSED)
        made_by_this_run = state is StageState.REUSED and stage.state == StageState.DONE
        if stage.kind == StageKind.SEGMENT or is_known or made_by_this_run:
            return False
        stage.state = state
        stage.done, stage.total, stage.unit = report.done, report.total, report.unit[:24]
        if state is not StageState.REUSED:
            stage.seconds = report.seconds
        record_stage(session, run, stage)
        if state in (StageState.DONE, StageState.REUSED):
            run.needs_bundle = still_needs_bundle(run)
        return True


def finish_run(
    database: Database,
    owner: str,
    run_id: uuid.UUID,
    state: RunState,
    error: dict[str, Any] | None = None,
    at: datetime | None = None,
) -> None:
    """Put a run into its final ``state``.

    Raises:
        LeaseLostError: the run is no longer this dispatcher's.
    """
    with database.write() as session:
        _finish(session, _held(session, owner, run_id), state, error, at or now())


def release_run(database: Database, owner: str, run_id: uuid.UUID) -> None:
    """Leave a running run to whoever adopts it first; that is no death of a dispatcher.

    Raises:
        LeaseLostError: the run is no longer this dispatcher's.
    """
    with database.write() as session:
        run = _held(session, owner, run_id)
        run.lease_owner, run.lease_until = None, now() - timedelta(seconds=1)


def _finish(
    session: Session, run: Run, state: RunState, error: dict[str, Any] | None, at: datetime
) -> None:
    serve(session, run, at)
    settle_stages(session, run, state)
    record_state(session, run, state, error)
    run.needs_bundle = False


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
