"""What happens in the service, read from the database at once: for the metrics and for people."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from spinml.service.database import Database
from spinml.service.heartbeats import FRESH_S, latest
from spinml.service.ledger import StoredArtifact
from spinml.service.models import Run, RunStage, RunState, StageState, Tenant, now
from spinml.service.queue import Waiting, expected_order, standings

ENDED_WITHIN = timedelta(hours=1)


@dataclass(frozen=True)
class TenantView:
    """One tenant's runs."""

    tenant: str
    runs: Mapping[str, int]
    """State → runs, every state."""
    oldest_queued_s: float | None
    stored_bytes: int


@dataclass(frozen=True)
class StageView:
    """A stage under way."""

    run: uuid.UUID
    tenant: str
    kind: str
    done: int
    total: int
    """0: not known yet."""
    unit: str
    seconds: float
    """Up to its last report."""
    gpus: float

    @property
    def rate(self) -> float | None:
        """Units a second since it began; None as long as nothing is done."""
        return self.done / self.seconds if self.done and self.seconds else None

    @property
    def left_s(self) -> float | None:
        """Seconds that it still takes if it goes on so; None: cannot be told."""
        if self.rate is None or not self.total:
            return None
        return max(0, self.total - self.done) / self.rate


@dataclass(frozen=True)
class QueuedView:
    """A run that waits, and when its turn comes if nothing else is submitted."""

    position: int
    run: uuid.UUID
    tenant: str
    priority: int
    waits_s: float


@dataclass(frozen=True)
class DispatcherView:
    """The dispatcher that was heard of last."""

    beat_at: datetime
    silent_s: float
    cluster: Mapping[str, tuple[float, float]] | None
    """Resource → (in use, there are), as it saw them; None: not known."""

    @property
    def is_alive(self) -> bool:
        return self.silent_s <= FRESH_S


@dataclass(frozen=True)
class Overview:
    """The service at one moment: ids, counts and times."""

    at: datetime
    tenants: Sequence[TenantView]
    stages: Sequence[StageView]
    queue: Sequence[QueuedView]
    ended_last_hour: Mapping[str, int]
    """Final state → runs."""
    dispatcher: DispatcherView | None
    """None: none was ever heard of, or the last one signed off."""


def overview(database: Database, at: datetime | None = None) -> Overview:
    """What happens now."""
    at = at or now()
    with database.read() as session:
        return Overview(
            at=at,
            tenants=_tenants(session, at),
            stages=_stages(session),
            queue=_queue(session, at),
            ended_last_hour=_ended(session, at),
            dispatcher=_dispatcher(session, at),
        )


def _tenants(session: Session, at: datetime) -> list[TenantView]:
    counts: dict[str, dict[str, int]] = {}
    by_state = select(Run.tenant_id, Run.state, func.count()).group_by(Run.tenant_id, Run.state)
    for tenant, state, count in session.execute(by_state):
        counts.setdefault(tenant, {})[state] = count
    queued = (
        select(Run.tenant_id, func.min(Run.created_at))
        .where(Run.state == RunState.QUEUED)
        .group_by(Run.tenant_id)
    )
    oldest = {tenant: _since(created, at) for tenant, created in session.execute(queued)}
    sizes = select(StoredArtifact.tenant_id, func.sum(StoredArtifact.size_bytes))
    stored = dict(session.execute(sizes.group_by(StoredArtifact.tenant_id)).all())
    return [
        TenantView(
            tenant=tenant,
            runs={state.value: counts.get(tenant, {}).get(state, 0) for state in RunState},
            oldest_queued_s=oldest.get(tenant),
            stored_bytes=int(stored.get(tenant, 0)),
        )
        for tenant in session.scalars(select(Tenant.id).order_by(Tenant.id))
    ]


def _stages(session: Session) -> list[StageView]:
    query = (
        select(RunStage, Run.tenant_id)
        .join(Run, Run.id == RunStage.run_id)
        .where(Run.state == RunState.RUNNING, RunStage.state == StageState.RUNNING)
        .order_by(Run.tenant_id, Run.created_at, RunStage.position)
    )
    return [
        StageView(
            run=stage.run_id,
            tenant=tenant,
            kind=stage.kind,
            done=stage.done,
            total=stage.total,
            unit=stage.unit,
            seconds=stage.seconds,
            gpus=stage.gpus,
        )
        for stage, tenant in session.execute(query)
    ]


def _queue(session: Session, at: datetime) -> list[QueuedView]:
    query = (
        select(Run.id, Run.tenant_id, Run.priority, Run.created_at)
        .where(Run.state == RunState.QUEUED)
        .order_by(Run.priority.desc(), Run.created_at, Run.id)
    )
    waiting = [Waiting(*row) for row in session.execute(query)]
    ordered = expected_order(standings(session, at), waiting)
    return [
        QueuedView(position, run.id, run.tenant, run.priority, _since(run.created_at, at))
        for position, run in enumerate(ordered, start=1)
    ]


def _ended(session: Session, at: datetime) -> dict[str, int]:
    query = select(Run.state, func.count()).where(Run.updated_at > at - ENDED_WITHIN)
    found = dict(session.execute(query.group_by(Run.state)).all())
    return {state.value: found.get(state, 0) for state in RunState if state.final}


def _dispatcher(session: Session, at: datetime) -> DispatcherView | None:
    row = latest(session)
    if row is None:
        return None
    cluster = {name: (used, all_) for name, (used, all_) in (row.cluster or {}).items()}
    return DispatcherView(row.beat_at, _since(row.beat_at, at), cluster or None)


def _since(then: datetime, at: datetime) -> float:
    return max(0.0, (at - then).total_seconds())
