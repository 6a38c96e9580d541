"""How far a run is, as one number: that of its last event, which counts whatever its owner sees."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from sqlalchemy import select

from spinml.errors import NotFoundError
from spinml.service.database import Database
from spinml.service.models import Run

_RUNS_A_QUERY = 500


def version(database: Database, tenant: str, run_id: uuid.UUID) -> int:
    """The number of the last event of a tenant's run; nothing else of it is read.

    Raises:
        NotFoundError: no such run of this tenant.
    """
    query = select(Run.last_event).where(Run.id == run_id, Run.tenant_id == tenant)
    with database.read() as session:
        found = session.scalar(query)
    if found is None:
        raise NotFoundError("no such run", remedy="GET /v1/runs lists yours")
    return found


def versions(database: Database, run_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, int]:
    """The same of many runs, whosever they are; one that is gone is not in it."""
    asked = list(run_ids)
    found: dict[uuid.UUID, int] = {}
    with database.read() as session:
        for first in range(0, len(asked), _RUNS_A_QUERY):
            some = asked[first : first + _RUNS_A_QUERY]
            query = select(Run.id, Run.last_event).where(Run.id.in_(some))
            for run_id, number in session.execute(query):
                found[run_id] = number
    return found
