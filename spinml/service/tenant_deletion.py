"""Erasing a tenant: its runs, artifacts, keys, charges; its name and its receipts stay.

In three steps, each of which may be done again: nobody may submit any more and nothing waits,
nothing is under way, everything is noted as to be erased and gone from the store. What nodes still
have in their caches the dispatcher erases (:func:`spinml.service.erasure.finish_erasures`), and
completes the receipts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, select

from spinml.errors import ConflictError, NotFoundError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.stages import ArtifactKey
from spinml.service.database import Database
from spinml.service.erasure import delete_run, note_erasures
from spinml.service.ledger import Charge, Erasure
from spinml.service.locks import lock_tenant
from spinml.service.models import ApiKey, QueueTime, Run, Tenant, now
from spinml.service.queue import UNFINISHED
from spinml.service.runs import ask_to_end

LEFT = "its tenant was deleted"
"""Reason of the receipts."""
POLL_S = 0.2


@dataclass(frozen=True)
class TenantDeletion:
    """What was erased."""

    tenant: str
    deleted_at: datetime
    keys: int
    """API keys."""
    runs: int
    artifacts: int
    """Gone from the store; nodes' caches follow, and with them the receipts are completed."""


def delete_tenant(
    database: Database,
    store: ArtifactStore,
    tenant: str,
    *,
    cancel: bool = False,
    patience_s: float = 120.0,
) -> TenantDeletion:
    """Erase all that ``tenant`` has, for good. Called again, it finishes what was left.

    Args:
        cancel: end runs that wait or are under way; a dispatcher must be there to end the latter.
        patience_s: how long to wait for them.

    Raises:
        NotFoundError: no such tenant.
        ConflictError: runs wait or are under way: without ``cancel`` nothing was changed; with it
            they were told to end and did not in time.
        ArtifactError: the store failed; what is left is erased by the dispatcher, or by calling
            again.
    """
    deleted_at, keys = _close(database, tenant, cancel=cancel)
    _await_end(database, tenant, patience_s)
    runs, noted = _note_all(database, store, tenant)
    store.delete_tenant(tenant)
    return TenantDeletion(tenant, deleted_at, keys, runs, len(noted))


def _close(database: Database, tenant: str, *, cancel: bool) -> tuple[datetime, int]:
    """Take the tenant's keys and end its runs, at once: none must wait in the queue for a tenant
    that is gone. When that was, and how many keys."""
    with database.write() as session:
        lock_tenant(session, tenant)
        row = session.get(Tenant, tenant)
        if row is None:
            raise NotFoundError("no such tenant", remedy="spinml admin tenant list shows them")
        # By id, as dispatchers lock them to renew their leases.
        query = select(Run).where(*_unfinished(tenant)).order_by(Run.id).with_for_update()
        unfinished = session.scalars(query).all()
        if unfinished and not cancel:
            raise ConflictError(
                f"{len(unfinished)} run(s) of the tenant wait or are under way",
                remedy="wait for them, or end them by --cancel",
                details={"tenant": tenant, "runs": len(unfinished)},
            )
        for run in unfinished:
            ask_to_end(session, run)
        row.deleted_at = row.deleted_at or now()
        of_tenant = ApiKey.tenant_id == tenant
        keys = session.scalar(select(func.count()).select_from(ApiKey).where(of_tenant)) or 0
        session.execute(delete(ApiKey).where(of_tenant))
        return row.deleted_at, keys


def _await_end(database: Database, tenant: str, patience_s: float) -> None:
    """Wait for the runs that dispatchers still end."""
    deadline = time.monotonic() + patience_s
    query = select(func.count()).select_from(Run).where(*_unfinished(tenant))
    while True:
        with database.read() as session:
            left = session.scalar(query)
        if not left:
            return
        if time.monotonic() >= deadline:
            raise ConflictError(
                f"{left} run(s) of the tenant are still under way after {patience_s:g} s; "
                "its keys are gone",
                remedy="see that a dispatcher works, and delete the tenant again",
                details={"tenant": tenant, "runs": left},
            )
        time.sleep(POLL_S)


def _note_all(
    database: Database, store: ArtifactStore, tenant: str
) -> tuple[int, Sequence[ArtifactKey]]:
    """Delete the rows of all runs and note every artifact, those too that no run holds."""
    with database.read() as session:
        runs = session.scalars(select(Run.id).where(Run.tenant_id == tenant)).all()
    keys: list[ArtifactKey] = []
    for run_id in runs:
        keys += delete_run(database, tenant, str(run_id), LEFT)
    with database.write() as session:
        lock_tenant(session, tenant)
        noted = set(session.scalars(select(Erasure.digest).where(Erasure.tenant_id == tenant)))
        strays = {
            key.digest: key.kind.value
            for key in store.list_keys(tenant, partial=True)
            if key.digest not in noted
        }
        if strays:
            keys += note_erasures(session, tenant, strays, LEFT)
        session.execute(delete(Charge).where(Charge.tenant_id == tenant))
        session.execute(delete(QueueTime).where(QueueTime.tenant_id == tenant))
    return len(runs), keys


def _unfinished(tenant: str) -> tuple[ColumnElement[bool], ...]:
    return Run.tenant_id == tenant, Run.state.in_(UNFINISHED)
