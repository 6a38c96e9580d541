"""Erasing for good: noted in the database until it is done, and receipted.

An artifact is gone when it is neither in the store nor in any node's cache. A receipt says what was
erased, when, and its hashes; nothing of its content.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from spinml.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    ConflictError,
    StoreUnavailableError,
)
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.stages import ArtifactKey, StageKind
from spinml.service.database import Database
from spinml.service.ledger import Erasure, Receipt, StoredArtifact, note_stored
from spinml.service.locks import lock_tenant
from spinml.service.models import Run, RunStage, RunState, Tenant, now
from spinml.service.runs import owned

Evict = Callable[[Sequence[ArtifactKey]], None]
"""Erases artifacts from every node's cache."""
DELETED, EXPIRED, SPENT = "deleted by its owner", "older than is kept", "no run needs it any more"
"""Reasons of receipts."""


def delete_run(
    database: Database, tenant: str, run_id: str, reason: str = DELETED
) -> list[ArtifactKey]:
    """Delete a run's rows and name the artifacts that no other run of the tenant holds.

    Erasures and the receipt are written in the same transaction; :func:`erase` carries them out.

    Raises:
        NotFoundError: no such run of this tenant.
        ConflictError: the run is running.
    """
    with database.write() as session:
        lock_tenant(session, tenant)
        run = owned(session, tenant, run_id, lock=True)
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
        gone = {digest: kind for digest, kind in held.items() if digest not in shared}
        session.delete(run)
        return note_erasures(session, tenant, gone, reason, run_id=run.id, kept=len(shared))


def note_erasures(
    session: Session,
    tenant: str,
    kinds: Mapping[str, str],
    reason: str,
    *,
    run_id: uuid.UUID | None = None,
    kept: int = 0,
) -> list[ArtifactKey]:
    """Note that artifacts (digest → kind) are to be erased, and write the receipt.

    Call under :func:`spinml.service.locks.lock_tenant`.
    """
    stored = {
        row.digest: row
        for row in session.scalars(
            select(StoredArtifact).where(
                StoredArtifact.tenant_id == tenant, StoredArtifact.digest.in_(kinds)
            )
        )
    }
    receipt = Receipt(
        id=uuid.uuid4(), tenant_id=tenant, run_id=run_id, reason=reason, kept=kept, artifacts=[]
    )
    keys = []
    for digest, kind in sorted(kinds.items()):
        row = stored.get(digest)
        receipt.artifacts.append(
            {
                "kind": kind,
                "digest": digest,
                "size_bytes": row.size_bytes if row else None,
                "content_sha256": row.content_sha256 if row else None,
            }
        )
        session.merge(Erasure(tenant_id=tenant, digest=digest, kind=kind, receipt_id=receipt.id))
        keys.append(ArtifactKey(tenant, StageKind(kind), digest))
    if not keys:
        receipt.completed_at = now()
    session.add(receipt)
    return keys


def erase(
    database: Database, store: ArtifactStore, evict: Evict, keys: Sequence[ArtifactKey]
) -> None:
    """Erase artifacts that :func:`note_erasures` noted, and complete their receipts.

    One that the store does not erase keeps no other from it; a store that is away ends it.

    Raises:
        ArtifactError: store or caches failed; what is left stays noted, for
            :func:`finish_erasures`.
    """
    gone: list[ArtifactKey] = []
    failure: ArtifactError | None = None
    for key in keys:
        try:
            store.delete(key)
        except ArtifactError as error:
            failure = error
            if isinstance(error, StoreUnavailableError):  # each would wait for it anew
                break
        else:
            gone.append(key)
    if gone:
        evict(gone)  # after the store: a node cannot fetch again what it forgot
    for key in gone:
        with database.write() as session:
            lock_tenant(session, key.tenant)
            _settle(session, key)
    if failure is not None:
        raise failure


def _settle(session: Session, key: ArtifactKey) -> None:
    """An artifact is gone: forget it, and complete the receipts of which it was the last."""
    row = session.get(Erasure, (key.tenant, key.digest))
    if row is None:
        return
    session.delete(row)
    session.execute(
        delete(StoredArtifact).where(
            StoredArtifact.tenant_id == key.tenant, StoredArtifact.digest == key.digest
        )
    )
    session.flush()
    for receipt in session.scalars(_maybe_complete(key.tenant)).all():
        erasing = session.scalars(select(Erasure.digest).where(Erasure.tenant_id == key.tenant))
        if set(erasing).isdisjoint(item["digest"] for item in receipt.artifacts):
            receipt.completed_at = now()


def _maybe_complete(tenant: str) -> Select[Receipt]:
    """Open receipts that no erasure names: what may be left of them goes under later ones."""
    named = select(Erasure.digest).where(Erasure.receipt_id == Receipt.id)
    return select(Receipt).where(
        Receipt.tenant_id == tenant, Receipt.completed_at.is_(None), ~named.exists()
    )


def finish_erasures(
    database: Database,
    store: ArtifactStore,
    evict: Evict,
    older_than: timedelta = timedelta(minutes=2),
) -> int:
    """Erase what a process noted and did not finish; how many there were.

    Args:
        older_than: younger ones are left to the process that is at them.

    Raises:
        ArtifactError: store or caches failed.
    """
    old = select(Erasure).where(Erasure.created_at < now() - older_than)
    with database.read() as session:  # at random: what ends it is not before the same others again
        rows = session.scalars(old.order_by(func.random())).all()
    keys = [ArtifactKey(row.tenant_id, StageKind(row.kind), row.digest) for row in rows]
    erase(database, store, evict, keys)
    return len(keys)


def list_receipts(
    database: Database, tenant: str, limit: int, run_id: uuid.UUID | None = None
) -> Sequence[Receipt]:
    """A tenant's receipts, newest first.

    Args:
        run_id: those of one deleted run.
    """
    query = select(Receipt).where(Receipt.tenant_id == tenant)
    if run_id is not None:
        query = query.where(Receipt.run_id == run_id)
    with database.read() as session:
        return session.scalars(query.order_by(Receipt.created_at.desc()).limit(limit)).all()


def take_stock(database: Database, store: ArtifactStore) -> None:
    """Note artifacts that are in the store and not in the database.

    A server that died between the two leaves such, and versions before 0.2 noted none.

    Raises:
        ArtifactError: the store failed.
    """
    for tenant in _tenants(database):
        with database.read() as session:
            query = select(StoredArtifact.digest).where(StoredArtifact.tenant_id == tenant)
            noted = set(session.scalars(query))
        for key in store.list_keys(tenant):
            if key.digest not in noted:
                _note(database, store, key)


def _note(database: Database, store: ArtifactStore, key: ArtifactKey) -> None:
    with database.write() as session:
        lock_tenant(session, key.tenant)
        if session.get(Erasure, (key.tenant, key.digest)) is not None:
            return
        try:
            note_stored(session, key.tenant, store.read_manifest(key))
        except ArtifactNotFoundError:  # erased meanwhile
            return


def _tenants(database: Database) -> Iterable[str]:
    with database.read() as session:
        return session.scalars(select(Tenant.id)).all()
