"""Runs in the database, seen by their owner: submit, look up, list, cancel."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select, tuple_
from sqlalchemy.orm import Session, selectinload

from spinml.errors import (
    ArtifactNotFoundError,
    ConflictError,
    NotFoundError,
    ServerUnavailableError,
)
from spinml.pipeline.manifest import Manifest
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import Stage, StageKind
from spinml.request import TrainingRequest
from spinml.service import queue, quotas
from spinml.service.database import Database
from spinml.service.journal import record_state, settle_stages
from spinml.service.ledger import Erasure, note_stored
from spinml.service.locks import lock_tenant
from spinml.service.models import Event, Run, RunStage, RunState
from spinml.service.plans import plan_to_json, still_needs_bundle

EVENTS_AT_ONCE = 500


@dataclass(frozen=True)
class Submission:
    """What a device sent, planned."""

    tenant: str
    idempotency_key: str
    bundle_digest: str
    request: TrainingRequest
    plan: Plan
    gpus: Callable[[StageKind], float]
    """How many GPUs a stage of a kind holds while it is executed."""
    size_bytes: int = 0
    """Of its segments that are not in the store."""
    priority: int = 0
    """Among the tenant's own runs; higher ones are begun first."""

    @property
    def wants(self) -> quotas.Wants:
        """What its tenant's quotas must allow."""
        return quotas.Wants(
            images={stage.digest: images_of(stage) for stage in self.plan if images_of(stage)},
            gpus=any(self.gpus(stage.kind) > 0 for stage in self.plan),
            size_bytes=self.size_bytes,
        )


def images_of(stage: Stage) -> int:
    """How many images a stage draws for the dataset."""
    if stage.kind is not StageKind.GENERATE:
        return 0
    return int(stage.params["images"])


def check_quotas(database: Database, submission: Submission) -> None:
    """Refuse a submission that its tenant's quotas do not allow, before anything is stored.

    Raises:
        QuotaSpentError, QuotaExceededError: see :func:`spinml.service.quotas.check`.
    """
    with database.read() as session:
        quotas.check(session, submission.tenant, submission.wants)


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
    database: Database, submission: Submission, sources: Callable[[], Sequence[Manifest]]
) -> tuple[Run, bool]:
    """Queue a run with its stages and first event, at once; (run, whether it is new).

    Args:
        sources: reads the manifests of the run's source segments, or raises
            ArtifactNotFoundError. Asked while nobody else can begin to erase them, so that what
            it says holds as long as the run needs them.

    Raises:
        ConflictError: the idempotency key was used for another bundle.
        QuotaSpentError, QuotaExceededError: see :func:`spinml.service.quotas.check`.
        ServerUnavailableError: an artifact that the run needs is being erased just now.
    """
    with database.write() as session:
        lock_tenant(session, submission.tenant)
        run = session.scalar(_by_key(submission.tenant, submission.idempotency_key))
        if run is not None:
            return _same_bundle(run, submission.bundle_digest), False
        quotas.check(session, submission.tenant, submission.wants)
        if _erasing(session, submission):
            raise _erased_just_now()
        try:
            manifests = sources()
        except ArtifactNotFoundError:
            raise _erased_just_now() from None
        for manifest in manifests:
            note_stored(session, submission.tenant, manifest)
        if queue.is_idle(session, submission.tenant):
            queue.catch_up(session, submission.tenant)
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
        return owned(session, tenant, run_id)


def list_runs(
    database: Database, tenant: str, limit: int, after: str | None, key_prefix: str = ""
) -> tuple[Sequence[Run], bool]:
    """A page of a tenant's runs, newest first, and whether there are more.

    Args:
        after: the id of the last run of the page before.
        key_prefix: with what the runs' idempotency keys begin.

    Raises:
        NotFoundError: ``after`` is no run of the tenant.
    """
    with database.read() as session:
        query = (
            select(Run)
            .where(
                Run.tenant_id == tenant,
                Run.idempotency_key.startswith(key_prefix, autoescape=True),
            )
            .order_by(Run.created_at.desc(), Run.id.desc())
            .options(selectinload(Run.stages))
            .limit(limit + 1)
        )
        if after is not None:
            last = owned(session, tenant, after)
            query = query.where(tuple_(Run.created_at, Run.id) < (last.created_at, last.id))
        runs = session.scalars(query).all()
    return runs[:limit], len(runs) > limit


def list_all(
    database: Database, tenant: str | None, state: RunState | None, limit: int
) -> Sequence[Run]:
    """Runs of one tenant or of all, for the operator: newest first, without their stages."""
    query = select(Run).order_by(Run.created_at.desc(), Run.id.desc()).limit(limit)
    if tenant is not None:
        query = query.where(Run.tenant_id == tenant)
    if state is not None:
        query = query.where(Run.state == state)
    with database.read() as session:
        return session.scalars(query).all()


def events_after(
    database: Database, tenant: str, run_id: uuid.UUID, seq: int
) -> Sequence[Event] | None:
    """The next ``EVENTS_AT_ONCE`` events of a tenant's run behind number ``seq``.

    None once the run is deleted.
    """
    with database.read() as session:
        query = (
            select(Event)
            .join(Run, Run.id == Event.run_id)
            .where(Run.tenant_id == tenant, Event.run_id == run_id, Event.seq > seq)
            .order_by(Event.seq)
            .limit(EVENTS_AT_ONCE)
        )
        events = session.scalars(query).all()
        is_there = bool(events) or session.scalar(_by_id(tenant, run_id)) is not None
    return events if is_there else None


def request_cancel(database: Database, tenant: str, run_id: str) -> Run:
    """Ask for the end of a run: a queued one ends now, a running one when its stage notices.

    Cancelling twice is the same as once.

    Raises:
        NotFoundError: no such run of this tenant.
        ConflictError: the run has succeeded or failed.
    """
    with database.write() as session:
        run = owned(session, tenant, run_id, lock=True)
        if run.state in (RunState.SUCCEEDED, RunState.FAILED):
            raise ConflictError(
                f"the run has {run.state} already", remedy="delete it to erase what it made"
            )
        ask_to_end(session, run)
        return run


def ask_to_end(session: Session, run: Run) -> None:
    """Ask for the end of a run that is not over and is locked."""
    run.cancel_requested = True
    if run.state == RunState.QUEUED:
        settle_stages(session, run, RunState.CANCELLED)
        record_state(session, run, RunState.CANCELLED)
        run.needs_bundle = False


def _by_id(tenant: str, run_id: uuid.UUID) -> Select[Run]:
    return select(Run).where(Run.id == run_id, Run.tenant_id == tenant)


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


def owned(session: Session, tenant: str, run_id: str, *, lock: bool = False) -> Run:
    """A tenant's run with its stages.

    Raises:
        NotFoundError: no such run of this tenant.
    """
    query = _by_id(tenant, parse_id(run_id)).options(selectinload(Run.stages))
    run = session.scalar(query.with_for_update() if lock else query)
    if run is None:
        raise _not_found()
    return run


def parse_id(run_id: str) -> uuid.UUID:
    """The id that a path names.

    Raises:
        NotFoundError: it is none.
    """
    try:
        return uuid.UUID(run_id)
    except ValueError:
        raise _not_found() from None


def _not_found() -> NotFoundError:
    return NotFoundError("no such run", remedy="GET /v1/runs lists yours")


def _erased_just_now() -> ServerUnavailableError:
    return ServerUnavailableError(
        "an artifact that this run needs is being erased just now",
        remedy="submit it again with the same idempotency key",
    )


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
            gpus=submission.gpus(stage.kind),
            images=images_of(stage),
            **({"state": "done"} if stage.kind is StageKind.SEGMENT else {}),
        )
        for position, stage in enumerate(submission.plan)
    ]
    run = Run(
        id=uuid.uuid4(),
        tenant_id=submission.tenant,
        idempotency_key=submission.idempotency_key,
        bundle_digest=submission.bundle_digest,
        request=submission.request.model_dump(mode="json"),
        plan=plan_to_json(submission.plan),
        priority=submission.priority,
        stages=stages,
    )
    run.needs_bundle = still_needs_bundle(run)
    return run
