"""Erasing artifacts of deleted runs, for good: noted in the database until it is done."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import Select, delete, select

from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.stages import ArtifactKey, StageKind
from spinml.service.database import Database
from spinml.service.models import Erasure, Run, RunStage, Tenant, now
from spinml.service.runs import lock_tenant


def erase(database: Database, store: ArtifactStore, keys: Iterable[ArtifactKey]) -> None:
    """Erase artifacts that :func:`spinml.service.runs.delete_run` noted.

    Raises:
        ArtifactError: the store failed; what is left stays noted, for :func:`finish_erasures`.
    """
    for key in keys:
        store.delete(key)
        with database.write() as session:
            session.execute(
                delete(Erasure).where(Erasure.tenant_id == key.tenant, Erasure.digest == key.digest)
            )


def finish_erasures(
    database: Database, store: ArtifactStore, older_than: timedelta = timedelta(minutes=10)
) -> int:
    """Erase what a process noted and did not finish; how many there were.

    Args:
        older_than: younger ones are left to the process that is at them.

    Raises:
        ArtifactError: the store failed.
    """
    with database.read() as session:
        rows = session.scalars(select(Erasure).where(Erasure.created_at < now() - older_than)).all()
    erase(database, store, [ArtifactKey(r.tenant_id, StageKind(r.kind), r.digest) for r in rows])
    return len(rows)


def erase_orphans(database: Database, store: ArtifactStore) -> int:
    """Erase sanitized segments that no run holds; how many there were.

    A submission stores its segments before its run exists; a server that died in between leaves
    them. One that is in the middle of it is told to come again by ``insert_run``.

    Raises:
        ArtifactError: the store failed.
    """
    keys: list[ArtifactKey] = []
    with database.read() as session:
        tenants = session.scalars(select(Tenant.id)).all()
    for tenant in tenants:
        with database.write() as session:
            lock_tenant(session, tenant)
            held = set(session.scalars(_held_segments(tenant)))
            for key in store.list_keys(tenant, partial=True):
                if key.kind is StageKind.SEGMENT and key.digest not in held:
                    session.merge(Erasure(tenant_id=tenant, digest=key.digest, kind=key.kind))
                    keys.append(key)
    erase(database, store, keys)
    return len(keys)


def _held_segments(tenant: str) -> Select[str]:
    return (
        select(RunStage.digest)
        .join(Run, Run.id == RunStage.run_id)
        .where(Run.tenant_id == tenant, RunStage.kind == StageKind.SEGMENT)
    )
