"""Erasing a tenant: its runs, artifacts, keys, charges; its name and its receipts stay.

In three steps, each of which may be done again: nobody may submit any more, nothing is under way,
everything is noted as to be erased and gone from the store. What nodes still have in their caches
the dispatcher erases (:func:`spinml.service.erasure.finish_erasures`), and completes the receipts.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from spinml.errors import ConflictError, NotFoundError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.stages import ArtifactKey
from spinml.service.database import Database
from spinml.service.erasure import delete_run, note_erasures
from spinml.service.ledger import Charge, Erasure
from spinml.service.locks import lock_tenant
from spinml.service.models import ApiKey, QueueTime, Run, Tenant, now
from spinml.service.queue import UNFINISHED
from spinml.service.runs import request_cancel

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
    _end_runs(database, tenant, patience_s)
    runs, noted = _note_all(database, store, tenant)
    store.delete_tenant(tenant)
    return TenantDeletion(tenant, deleted_at, keys, runs, len(noted))


def _close(database: Database, tenant: str, *, cancel: bool) -> tuple[datetime, int]:
    """Take the tenant's keys, so that nothing is submitted any more; when, and how many."""
    with database.write() as session:
        lock_tenant(session, tenant)
        row = session.get(Tenant, tenant)
        if row is None:
            raise NotFoundError("no such tenant", remedy="spinml admin tenant list shows them")
        unfinished = _unfinished(session, tenant)
        if unfinished and not cancel:
            raise ConflictError(
                f"{len(unfinished)} run(s) of the tenant wait or are under way",
                remedy="wait for them, or end them by --cancel",
                details={"tenant": tenant, "runs": len(unfinished)},
            )
        row.deleted_at = row.deleted_at or now()
        of_tenant = ApiKey.tenant_id == tenant
        keys = session.scalar(select(func.count()).select_from(ApiKey).where(of_tenant)) or 0
        session.execute(delete(ApiKey).where(of_tenant))
        return row.deleted_at, keys


def _end_runs(database: Database, tenant: str, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    with database.read() as session:
        unfinished = _unfinished(session, tenant)
    for run_id in unfinished:
        try:
            request_cancel(database, tenant, run_id)
        except ConflictError:  # it has ended by itself
            continue
    while unfinished and time.monotonic() < deadline:
        with database.read() as session:
            unfinished = _unfinished(session, tenant)
        time.sleep(POLL_S if unfinished else 0)
    if unfinished:
        raise ConflictError(
            f"{len(unfinished)} run(s) of the tenant are still under way after {patience_s:g} s; "
            "its keys are gone",
            remedy="see that a dispatcher works, and delete the tenant again",
            details={"tenant": tenant, "runs": len(unfinished)},
        )


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


def _unfinished(session: Session, tenant: str) -> list[str]:
    query = select(Run.id).where(Run.tenant_id == tenant, Run.state.in_(UNFINISHED))
    return [str(run_id) for run_id in session.scalars(query)]
