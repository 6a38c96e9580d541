"""The tables: tenants and their keys, runs with their stages and events.

:mod:`spinml.service.ledger` has those of what was used, stored and erased;
:mod:`spinml.service.migrations` what made them on databases that are older.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class RunState(StrEnum):
    """Where a run is. The last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


class StageState(StrEnum):
    """Where a stage of a run is. ``reused``: its artifact existed already."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    REUSED = "reused"
    FAILED = "failed"
    CANCELLED = "cancelled"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time on every database; SQLite itself forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """The time of all rows."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[str]: JSON,
        RunState: String(16),
        StageState: String(16),
    }


class Tenant(Base):
    """Who owns runs and keys: its share of the queue, and its quotas (None: no limit)."""

    __tablename__ = "tenants"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    weight: Mapped[float] = mapped_column(default=1.0)
    max_concurrent_runs: Mapped[int | None] = mapped_column(default=None)
    max_images: Mapped[int | None] = mapped_column(default=None)
    max_gpu_seconds: Mapped[float | None] = mapped_column(default=None)
    max_stored_bytes: Mapped[int | None] = mapped_column(BigInteger, default=None)
    deleted_at: Mapped[datetime | None] = mapped_column(default=None)
    """Its name and receipts alone are left (spinml.service.tenant_deletion)."""


class QueueTime(Base):
    """How far a tenant is in the queue (spinml.service.queue).

    Apart from the tenant, so that the queue never waits for who holds that row's lock.
    """

    __tablename__ = "queue_times"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    served_s: Mapped[float] = mapped_column(default=0.0)
    """Seconds of its ended runs by its weight."""
    claimed_at_s: Mapped[float] = mapped_column(default=0.0)
    """``served_s`` when a run of it was last begun."""


class Scope(StrEnum):
    """What a key may do."""

    READ = "runs:read"
    """See runs, their events, the quota."""
    SUBMIT = "runs:submit"
    """Submit bundles, cancel runs."""
    RESULTS = "results:read"
    """Download model, dataset, embeddings, report."""
    DELETE = "runs:delete"
    """Delete runs, see the receipts."""


class ApiKey(Base):
    """A bearer key: its public id, the argon2 hash of its secret, and what it may do."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), index=True)
    secret_hash: Mapped[str] = mapped_column(String(200))
    label: Mapped[str] = mapped_column(String(60), default="")
    scopes: Mapped[list[str]] = mapped_column(default=lambda: list(Scope))
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None] = mapped_column(default=None)
    revoked_at: Mapped[datetime | None] = mapped_column(default=None)


class Run(Base):
    """One submission and how far it is.

    ``plan`` is the plan as it was when submitted (:mod:`spinml.service.plans`), so that a run
    means the same after the configuration changed. ``lease_owner`` is the dispatcher that works on
    it; once ``lease_until`` has passed, another may adopt it. ``needs_bundle``: see
    :mod:`spinml.service.retention`.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("tenant_id", "idempotency_key"),
        Index("runs_by_state", "state", "created_at"),
        Index("runs_by_tenant", "tenant_id", "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    idempotency_key: Mapped[str] = mapped_column(String(128))
    bundle_digest: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16), default=RunState.QUEUED)
    request: Mapped[dict[str, Any]]
    plan: Mapped[dict[str, Any]]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    lease_owner: Mapped[str | None] = mapped_column(String(64), default=None)
    lease_until: Mapped[datetime | None] = mapped_column(default=None)
    last_event: Mapped[int] = mapped_column(default=0)
    priority: Mapped[int] = mapped_column(default=0)
    claimed_at: Mapped[datetime | None] = mapped_column(default=None)
    needs_bundle: Mapped[bool] = mapped_column(default=True)

    stages: Mapped[list[RunStage]] = relationship(
        order_by="RunStage.position", cascade="all, delete-orphan", passive_deletes=True
    )


class RunStage(Base):
    """One stage of a run's plan; source segments stand here too, since the run holds them."""

    __tablename__ = "run_stages"
    __table_args__ = (Index("run_stages_by_digest", "digest"),)

    run_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    label: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(16), default=StageState.WAITING)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    unit: Mapped[str] = mapped_column(String(24), default="")
    seconds: Mapped[float] = mapped_column(default=0.0)
    gpus: Mapped[float] = mapped_column(default=0.0)
    """How many it holds while it is executed, as configured when the run was submitted."""
    images: Mapped[int] = mapped_column(default=0)
    """How many it draws for the dataset."""


class Heartbeat(Base):
    """A dispatcher that works, and when it last said so (spinml.service.heartbeats)."""

    __tablename__ = "heartbeats"

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    started_at: Mapped[datetime]
    beat_at: Mapped[datetime]
    cluster: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), default=None)
    """Resource → [in use, there are]; None: not known."""


class Event(Base):
    """What a listener of a run is told; ``seq`` counts up from 1 within the run."""

    __tablename__ = "events"

    run_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True
    )
    seq: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
