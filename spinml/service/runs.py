"""Runs in the database, seen by their owner: submit, look up, list, cancel, delete."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session, selectinload

from spinml.errors import ConflictError, NotFoundError, ServerUnavailableError
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import ArtifactKey, StageKind
from spinml.request import TrainingRequest
from spinml.service.database import Database
from spinml.service.journal import record_state, settle_stages
from spinml.service.models import Erasure, Event, Run, RunStage, RunState, Tenant
from spinml.service.plans import plan_to_json


@dataclass(frozen=True)
class Submission:
    """What a device sent, planned."""

    tenant: str
    idempotency_key: str
    bundle_digest: str
    request: TrainingRequest
    plan: Plan


def find_submission(
    database: Database, tenant: str, idempotency_key: str, bundle_digest: str
) -> Run | None:
    """The run that this key made, if any.

    Raises:
        ConflictError: the key was used for another bundle.
    """
    with database.read() as session:
        run = session.scalar(_by_key(tenant, idempotency_key))
    return run if run is None else _same_bundle(run, bundle_digest)


def insert_run(
    database: Database, submission: Submission, is_stored: Callable[[], bool]
) -> tuple[Run, bool]:
    """Queue a run with its stages and first event, at once; (run, whether it is new).

    Args:
        is_stored: whether the run's source segments are in the store. Asked while nobody else can
            begin to erase them, so that what it says holds as long as the run does.

    Raises:
        ConflictError: the idempotency key was used for another bundle.
        ServerUnavailableError: an artifact that the run needs is being erased just now.
    """
    with database.write() as session:
        lock_tenant(session, submission.tenant)
        run = session.scalar(_by_key(submission.tenant, submission.idempotency_key))
        if run is not None:
            return _same_bundle(run, submission.bundle_digest), False
        if _erasing(session, submission) or not is_stored():
            raise ServerUnavailableError(
                "an artifact that this run needs is being erased just now",
                remedy="submit it again with the same idempotency key",
            )
        run = _new_run(submission)
        session.add(run)
        session.flush()
        record_state(session, run, RunState.QUEUED)
        return run, True


def get_run(database: Database, tenant: str, run_id: str) -> Run:
    """A tenant's run with its stages.

    Raises:
        NotFoundError: no such run, or another tenant's, or no run id at all: never distinguished.
    """
    with database.read() as session:
        return _owned(session, tenant, run_id)


def list_runs(
    database: Database, tenant: str, limit: int, after: str | None
) -> tuple[Sequence[Run], bool]:
    """A page of a tenant's runs, newest first, and whether there are more.

    Args:
        after: the id of the last run of the page before.

    Raises:
        NotFoundError: ``after`` is no run of the tenant.
    """
    with database.read() as session:
        query = (
            select(Run)
            .where(Run.tenant_id == tenant)
            .order_by(Run.created_at.desc(), Run.id.desc())
            .options(selectinload(Run.stages))
            .limit(limit + 1)
        )
        if after is not None:
            last = _owned(session, tenant, after)
            query = query.where(tuple_(Run.created_at, Run.id) < (last.created_at, last.id))
        runs = session.scalars(query).all()
    return runs[:limit], len(runs) > limit


def events_after(database: Database, run_id: uuid.UUID, seq: int) -> Sequence[Event] | None:
    """Events of a run behind number ``seq``; None once the run is deleted."""
    with database.read() as session:
        query = select(Event).where(Event.run_id == run_id, Event.seq > seq).order_by(Event.seq)
        events = session.scalars(query).all()
        is_there = bool(events) or session.get(Run, run_id) is not None
    return events if is_there else None


def find_run(database: Database, run_id: uuid.UUID) -> Run | None:
    """A run as it stands now, without its stages; None once it is deleted."""
    with database.read() as session:
        return session.get(Run, run_id)


def request_cancel(database: Database, tenant: str, run_id: str) -> Run:
    """Ask for the end of a run: a queued one ends now, a running one when its stage notices.

    Cancelling twice is the same as once.

    Raises:
        NotFoundError: no such run of this tenant.
        ConflictError: the run has succeeded or failed.
    """
    with database.write() as session:
        run = _owned(session, tenant, run_id, lock=True)
        if run.state in (RunState.SUCCEEDED, RunState.FAILED):
            raise ConflictError(
                f"the run has {run.state} already", remedy="delete it to erase what it made"
            )
        run.cancel_requested = True
        if run.state == RunState.QUEUED:
            settle_stages(session, run, RunState.CANCELLED)
            record_state(session, run, RunState.CANCELLED)
        return run


def delete_run(database: Database, tenant: str, run_id: str) -> list[ArtifactKey]:
    """Delete a run's rows and name the artifacts that no other run of the tenant holds.

    The artifacts are noted as erasures in the same transaction; :mod:`spinml.service.erasure`
    erases them.

    Raises:
        NotFoundError: no such run of this tenant.
        ConflictError: the run is running.
    """
    with database.write() as session:
        lock_tenant(session, tenant)
        run = _owned(session, tenant, run_id, lock=True)
        if run.state == RunState.RUNNING:
            raise ConflictError(
                "the run is running",
                remedy="cancel it first, and delete it when its state is cancelled",
            )
        held = {stage.digest: stage.kind for stage in run.stages}
        others = (
            select(RunStage.digest)
            .join(Run, Run.id == RunStage.run_id)
            .where(Run.tenant_id == tenant, Run.id != run.id, RunStage.digest.in_(held))
        )
        shared = set(session.scalars(others))
        session.delete(run)
        keys = []
        for digest in sorted(set(held) - shared):
            session.merge(Erasure(tenant_id=tenant, digest=digest, kind=held[digest]))
            keys.append(ArtifactKey(tenant, StageKind(held[digest]), digest))
        return keys


def lock_tenant(session: Session, tenant: str) -> None:
    """Serialise what changes which artifacts a tenant's runs hold."""
    session.execute(select(Tenant.id).where(Tenant.id == tenant).with_for_update())


def _by_key(tenant: str, idempotency_key: str) -> Select[Run]:
    return (
        select(Run)
        .where(Run.tenant_id == tenant, Run.idempotency_key == idempotency_key)
        .options(selectinload(Run.stages))
    )


def _same_bundle(run: Run, bundle_digest: str) -> Run:
    if run.bundle_digest != bundle_digest:
        raise ConflictError(
            "this idempotency key was used for another bundle",
            remedy="take a new key for a new submission",
            details={"run": str(run.id)},
        )
    return run


def _owned(session: Session, tenant: str, run_id: str, *, lock: bool = False) -> Run:
    query = select(Run).where(Run.id == _parse_id(run_id), Run.tenant_id == tenant)
    query = query.options(selectinload(Run.stages))
    run = session.scalar(query.with_for_update() if lock else query)
    if run is None:
        raise _not_found()
    return run


def _parse_id(run_id: str) -> uuid.UUID:
    try:
        return uuid.UUID(run_id)
    except ValueError:
        raise _not_found() from None


def _not_found() -> NotFoundError:
    return NotFoundError("no such run", remedy="GET /v1/runs lists yours")


def _erasing(session: Session, submission: Submission) -> bool:
    digests = list(submission.plan.stages)
    query = select(Erasure.digest).where(
        Erasure.tenant_id == submission.tenant, Erasure.digest.in_(digests)
    )
    return session.scalar(query.limit(1)) is not None


def _new_run(submission: Submission) -> Run:
    stages = [
        RunStage(
            digest=stage.digest,
            position=position,
            kind=stage.kind.value,
            label=stage.label,
            **({"state": "done"} if stage.kind is StageKind.SEGMENT else {}),
        )
        for position, stage in enumerate(submission.plan)
    ]
    return Run(
        id=uuid.uuid4(),
        tenant_id=submission.tenant,
        idempotency_key=submission.idempotency_key,
        bundle_digest=submission.bundle_digest,
        request=submission.request.model_dump(mode="json"),
        plan=plan_to_json(submission.plan),
        stages=stages,
    )
