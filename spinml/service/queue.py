"""Whose run is next: weighted fair queueing by tenant, priorities inside one.

Start-time fair queueing (Goyal, Vin, Cheng, 1996) with seconds of runs as the service: each tenant
has a virtual time, the seconds its runs took by its weight, and the tenant that is least far is
next. A run under way counts as at least ``QUANTUM_S``, so that the slots of an idle cluster are
shared, too. Who comes back after a pause starts where the queue is: idle time is no credit.
"""

from __future__ import annotations

import heapq
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from spinml.service.models import QueueTime, Run, RunStage, RunState, Tenant
from spinml.service.quotas import Allowance, allowance

QUANTUM_S = 60.0
UNFINISHED = (RunState.QUEUED, RunState.RUNNING)


@dataclass(frozen=True)
class Standing:
    """How far a tenant with queued runs is."""

    tenant: str
    weight: float
    served_s: float
    """Seconds of its ended runs by its weight."""
    running_s: tuple[float, ...]
    """For each run under way, for how long."""
    waits_since: datetime
    """When its oldest queued run was submitted."""

    @property
    def virtual_s(self) -> float:
        """Its virtual time, in seconds by weight."""
        return self.served_s + sum(max(s, QUANTUM_S) for s in self.running_s) / self.weight


@dataclass(frozen=True)
class Waiting:
    """A queued run."""

    id: uuid.UUID
    tenant: str
    priority: int
    created_at: datetime


def in_turn(standings: Iterable[Standing]) -> list[Standing]:
    """The tenants in the order in which they are served."""
    return sorted(standings, key=_turn)


def expected_order(standings: Iterable[Standing], waiting: Iterable[Waiting]) -> list[Waiting]:
    """The queued runs in the order in which they begin if each takes ``QUANTUM_S``.

    Nothing else is submitted and no quota holds a run back.

    Args:
        waiting: each tenant's own in the order in which it wants them.
    """
    own: dict[str, deque[Waiting]] = {}
    for run in waiting:
        own.setdefault(run.tenant, deque()).append(run)
    heap = [(*_turn(s), s) for s in standings if s.tenant in own]
    heapq.heapify(heap)
    ordered: list[Waiting] = []
    while heap:
        standing = heap[0][-1]
        runs = own[standing.tenant]
        ordered.append(runs.popleft())
        if runs:
            served_s = standing.served_s + QUANTUM_S / standing.weight
            later = replace(standing, served_s=served_s)
            heapq.heapreplace(heap, (*_turn(later), later))
        else:
            heapq.heappop(heap)
    return ordered


def _turn(standing: Standing) -> tuple[float, datetime, str]:
    return standing.virtual_s, standing.waits_since, standing.tenant


def next_run(session: Session, at: datetime) -> Run | None:
    """The queued run to begin, locked; None if none is queued that its tenant's quotas allow.

    Take :func:`spinml.service.locks.lock_queue` before.
    """
    for standing in in_turn(standings(session, at)):
        allowed = allowance(session, standing.tenant, len(standing.running_s), at)
        run = session.scalar(_first_of(standing.tenant, allowed)) if allowed.any else None
        if run is not None:
            session.execute(
                update(QueueTime)
                .where(QueueTime.tenant_id == standing.tenant)
                .values(claimed_at_s=standing.served_s)
            )
            return run
        catch_up(session, standing.tenant)  # what its quotas keep it from is no credit either
    return None


def catch_up(session: Session, tenant: str) -> None:
    """Put a tenant that was not in the queue to where the queue is."""
    frontier = session.scalar(select(func.max(QueueTime.claimed_at_s))) or 0.0
    session.execute(
        update(QueueTime)
        .where(QueueTime.tenant_id == tenant, QueueTime.served_s < frontier)
        .values(served_s=frontier)
    )


def is_idle(session: Session, tenant: str) -> bool:
    """Whether a tenant has neither queued nor running runs."""
    query = select(Run.id).where(Run.tenant_id == tenant, Run.state.in_(UNFINISHED)).limit(1)
    return session.scalar(query) is None


def serve(session: Session, run: Run, at: datetime) -> None:
    """Count the seconds of a run that ends."""
    if run.claimed_at is None:
        return
    seconds = max(0.0, (at - run.claimed_at).total_seconds())
    weight = session.get_one(Tenant, run.tenant_id).weight
    session.execute(
        update(QueueTime)
        .where(QueueTime.tenant_id == run.tenant_id)
        .values(served_s=QueueTime.served_s + seconds / weight)
    )


def standings(session: Session, at: datetime) -> list[Standing]:
    """How far every tenant with queued runs is; a deleted one has no turn."""
    waiting = session.execute(
        select(Tenant.id, Tenant.weight, QueueTime.served_s, func.min(Run.created_at))
        .join(Run, Run.tenant_id == Tenant.id)
        .join(QueueTime, QueueTime.tenant_id == Tenant.id)
        .where(Run.state == RunState.QUEUED, Tenant.deleted_at.is_(None))
        .group_by(Tenant.id, Tenant.weight, QueueTime.served_s)
    ).all()
    running: dict[str, list[float]] = {}
    query = select(Run.tenant_id, Run.claimed_at).where(Run.state == RunState.RUNNING)
    for tenant, claimed_at in session.execute(query):
        seconds = (at - claimed_at).total_seconds() if claimed_at is not None else 0.0
        running.setdefault(tenant, []).append(seconds)
    return [
        Standing(tenant, weight, served_s, tuple(running.get(tenant, ())), oldest)
        for tenant, weight, served_s, oldest in waiting
    ]


def _first_of(tenant: str, allowed: Allowance) -> Select[Run]:
    query = select(Run).where(Run.tenant_id == tenant, Run.state == RunState.QUEUED)
    if not allowed.gpu_runs:
        query = query.where(~Run.stages.any(RunStage.gpus > 0))
    query = query.order_by(Run.priority.desc(), Run.created_at, Run.id).limit(1)
    return query.with_for_update(skip_locked=True)
