"""The tables of what a tenant used, stores, and had erased."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column

from spinml.pipeline.manifest import Manifest
from spinml.service.models import Base, now


class Charge(Base):
    """What one stage of one run cost; outlives the run, for quotas count it.

    There is at most one for each stage of a run, however often dispatchers adopted the run.
    """

    __tablename__ = "charges"
    __table_args__ = (Index("charges_by_tenant", "tenant_id", "at"),)

    run_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    kind: Mapped[str] = mapped_column(String(16))
    gpu_seconds: Mapped[float]
    """Seconds of the stage × GPUs it held."""
    images: Mapped[int]
    at: Mapped[datetime] = mapped_column(default=now)


class StoredArtifact(Base):
    """An artifact that lies in the store."""

    __tablename__ = "stored_artifacts"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    content_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Erasure(Base):
    """An artifact that is being erased: written with the run's deletion, gone once it is done.

    Makes a deletion survive a crash, and keeps a new run from counting on what is about to go.
    """

    __tablename__ = "erasures"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    receipt_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Receipt(Base):
    """That something was erased: what, when and its hashes, nothing of its content."""

    __tablename__ = "receipts"
    __table_args__ = (Index("receipts_by_tenant", "tenant_id", "created_at"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    run_id: Mapped[uuid.UUID | None] = mapped_column(default=None)
    """The run that was deleted; None: what no run needed any more."""
    reason: Mapped[str] = mapped_column(String(32))
    artifacts: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """Each: kind, digest (of the stage), size_bytes and content_sha256 (None: never finished)."""
    kept: Mapped[int] = mapped_column(default=0)
    """Artifacts of the run that another run of the tenant holds."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    completed_at: Mapped[datetime | None] = mapped_column(default=None)
    """When the last of them was gone from the store and from every node's cache."""


def note_stored(session: Session, tenant: str, manifest: Manifest) -> None:
    """Write down that an artifact lies in the store; twice is the same as once."""
    dialect = session.get_bind().dialect.name
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(StoredArtifact)
    session.execute(
        insert.values(
            tenant_id=tenant,
            digest=manifest.digest,
            kind=manifest.kind.value,
            size_bytes=manifest.size_bytes,
            content_sha256=manifest.content_sha256,
            created_at=manifest.created_at,
        ).on_conflict_do_nothing()
    )
