"""Quotas of a tenant: runs at once, images and GPU-seconds in 30 days, bytes in the store.

At submission a run that the quotas do not allow is refused; in the queue one waits as long as its
tenant has as many running as it may, has used up its GPU-seconds, or has its store full.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from spinml.errors import InvalidRequestError, NotFoundError, QuotaExceededError, QuotaSpentError
from spinml.pipeline.stages import StageKind
from spinml.service.database import Database
from spinml.service.ledger import Charge, StoredArtifact
from spinml.service.models import Run, RunStage, RunState, StageState, Tenant, now

PERIOD = timedelta(days=30)
"""Over which images and GPU-seconds are counted, back from now."""


@dataclass(frozen=True)
class Usage:
    """What a tenant has and may have; limits of None are no limits."""

    weight: float
    running_runs: int
    queued_runs: int
    max_concurrent_runs: int | None
    images: int
    """Drawn within the period, or to be drawn by runs that are not over."""
    max_images: int | None
    gpu_seconds: float
    max_gpu_seconds: float | None
    stored_bytes: int
    max_stored_bytes: int | None


@dataclass(frozen=True)
class Wants:
    """What a submission would use."""

    images: Mapping[str, int]
    """Digest of a GENERATE stage → images that it draws."""
    gpus: bool
    """Whether any of its stages holds a GPU."""
    size_bytes: int
    """Of its segments that are not in the store."""


@dataclass(frozen=True)
class Allowance:
    """Which queued runs of a tenant may begin."""

    any: bool
    gpu_runs: bool


def set_quotas(database: Database, tenant: str, **values: float | int | None) -> None:
    """Set columns of a tenant: ``weight`` and the limits ``max_…``; None lifts a limit.

    Raises:
        NotFoundError: no such tenant.
        InvalidRequestError: a weight that is not above 0, or a limit below 0.
    """
    if not 0 < float(values.get("weight") or 1) < math.inf or values.get("weight", 1) == 0:
        raise InvalidRequestError(f"a weight of {values['weight']}, one above 0 wanted")
    low = {name: value for name, value in values.items() if value is not None and value < 0}
    if low:
        raise InvalidRequestError(f"limits below 0: {', '.join(sorted(low))}")
    with database.write() as session:
        _known(session, tenant)
        if values:
            session.execute(update(Tenant).where(Tenant.id == tenant).values(**values))


def usage(database: Database, tenant: str, at: datetime | None = None) -> Usage:
    """What a tenant has and may have.

    Raises:
        NotFoundError: no such tenant.
    """
    at = at or now()
    with database.read() as session:
        row = _known(session, tenant)
        by_state = select(Run.state, func.count()).where(Run.tenant_id == tenant)
        states = dict(session.execute(by_state.group_by(Run.state)).all())
        return Usage(
            weight=row.weight,
            running_runs=states.get(RunState.RUNNING, 0),
            queued_runs=states.get(RunState.QUEUED, 0),
            max_concurrent_runs=row.max_concurrent_runs,
            images=_charged(session, tenant, Charge.images, at)
            + sum(_images_to_come(session, tenant).values()),
            max_images=row.max_images,
            gpu_seconds=round(_charged(session, tenant, Charge.gpu_seconds, at), 3),
            max_gpu_seconds=row.max_gpu_seconds,
            stored_bytes=_stored_bytes(session, tenant),
            max_stored_bytes=row.max_stored_bytes,
        )


def check(session: Session, tenant: str, wants: Wants, at: datetime | None = None) -> None:
    """Refuse a submission that is over a quota.

    Raises:
        QuotaSpentError: over images or GPU-seconds; details.retry_after_s says when some renew.
        QuotaExceededError: more than the tenant may ever have, or its store is full.
    """
    at = at or now()
    row = _known(session, tenant)
    if row.max_concurrent_runs == 0:
        raise _exceeded("runs at once", 1, 0, "ask the operator for a larger quota")
    _check_images(session, row, wants, at)
    most = row.max_gpu_seconds
    if wants.gpus and most is not None:
        if most == 0:
            raise _exceeded("GPU-seconds", "any", 0, "ask the operator for a larger quota")
        used = _charged(session, tenant, Charge.gpu_seconds, at)
        if used >= most:
            raise _spent(session, tenant, "GPU-seconds", Charge.gpu_seconds, used - most, most, at)
    stored = _stored_bytes(session, tenant) + wants.size_bytes
    if row.max_stored_bytes is not None and stored > row.max_stored_bytes:
        raise _exceeded("stored bytes", stored, row.max_stored_bytes, "delete runs")


def allowance(session: Session, tenant: str, running: int, at: datetime) -> Allowance:
    """Which queued runs of a tenant may begin, with ``running`` ones under way."""
    row = _known(session, tenant)
    is_full = (
        row.max_stored_bytes is not None and _stored_bytes(session, tenant) > row.max_stored_bytes
    )
    if is_full or (row.max_concurrent_runs is not None and running >= row.max_concurrent_runs):
        return Allowance(any=False, gpu_runs=False)
    most = row.max_gpu_seconds
    left = most is None or _charged(session, tenant, Charge.gpu_seconds, at) < most
    return Allowance(any=True, gpu_runs=left)


def _check_images(session: Session, row: Tenant, wants: Wants, at: datetime) -> None:
    if row.max_images is None:
        return
    to_come = _images_to_come(session, row.id)
    drawn = set(
        session.scalars(
            select(StoredArtifact.digest).where(
                StoredArtifact.tenant_id == row.id, StoredArtifact.digest.in_(wants.images)
            )
        )
    )
    wanted = sum(n for digest, n in wants.images.items() if digest not in drawn | set(to_come))
    if wanted > row.max_images:
        raise _exceeded("images", wanted, row.max_images, "ask for fewer images per class")
    used = _charged(session, row.id, Charge.images, at) + sum(to_come.values())
    over = used + wanted - row.max_images
    if wanted and over > 0:
        raise _spent(session, row.id, "images", Charge.images, over, row.max_images, at)


def _known(session: Session, tenant: str) -> Tenant:
    row = session.get(Tenant, tenant)
    if row is None or row.deleted_at is not None:
        raise NotFoundError("no such tenant", remedy="spinml admin tenant list shows them")
    return row


def _within(tenant: str, at: datetime) -> tuple[ColumnElement[bool], ...]:
    return Charge.tenant_id == tenant, Charge.at > at - PERIOD


def _charged(
    session: Session, tenant: str, column: InstrumentedAttribute[Any], at: datetime
) -> Any:
    return session.scalar(select(func.coalesce(func.sum(column), 0)).where(*_within(tenant, at)))


def _images_to_come(session: Session, tenant: str) -> dict[str, int]:
    """Images of datasets that runs which are not over will draw, by the stage's digest."""
    query = (
        select(RunStage.digest, RunStage.images)
        .join(Run, Run.id == RunStage.run_id)
        .where(
            Run.tenant_id == tenant,
            Run.state.in_((RunState.QUEUED, RunState.RUNNING)),
            RunStage.kind == StageKind.GENERATE,
            RunStage.state.in_((StageState.WAITING, StageState.RUNNING)),
        )
    )
    return dict(session.execute(query).all())


def _stored_bytes(session: Session, tenant: str) -> int:
    total = func.coalesce(func.sum(StoredArtifact.size_bytes), 0)
    return int(session.scalar(select(total).where(StoredArtifact.tenant_id == tenant)) or 0)


def _exceeded(what: str, wanted: object, most: object, remedy: str) -> QuotaExceededError:
    return QuotaExceededError(
        f"over the quota of {what}: {wanted} wanted, {most} allowed",
        remedy=remedy,
        details={"quota": what, "wanted": wanted, "allowed": most},
    )


def _spent(
    session: Session,
    tenant: str,
    what: str,
    column: InstrumentedAttribute[Any],
    over: float,
    most: float,
    at: datetime,
) -> QuotaSpentError:
    """Says how long it takes until so much of the quota has renewed that ``over`` is gone."""
    renews_at = at + PERIOD  # what is still to be drawn renews later still
    for used, used_at in session.execute(
        select(column, Charge.at).where(*_within(tenant, at), column > 0).order_by(Charge.at)
    ):
        over -= used
        if over <= 0:
            renews_at = used_at + PERIOD
            break
    wait_s = max(1, math.ceil((renews_at - at).total_seconds()))
    return QuotaSpentError(
        f"the quota of {most:g} {what} in {PERIOD.days} days is used up",
        remedy=f"try again in {wait_s} seconds, or ask the operator for a larger quota",
        details={"quota": what, "allowed": most, "retry_after_s": wait_s},
    )
