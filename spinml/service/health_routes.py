"""For probes: is the process there, and can it do its work. The only routes without a key."""

from __future__ import annotations

from fastapi import APIRouter

from spinml.errors import DatabaseUnavailableError, StoreUnavailableError
from spinml.service.answers import documented
from spinml.service.auth import State
from spinml.service.schemas import Health
from spinml.service.state import check_store

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Whether the process answers")
def healthz() -> Health:
    """Touches nothing else."""
    return Health()


@router.get(
    "/readyz",
    summary="Whether database and store can be used",
    responses=documented({DatabaseUnavailableError, StoreUnavailableError}, keyed=False),
)
def readyz(state: State) -> Health:
    """One query, and one look-up in the store."""
    state.database.ping()
    check_store(state.store)
    return Health()
