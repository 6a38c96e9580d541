"""For probes: is the process there, and can it do its work. The only routes without a key."""

from __future__ import annotations

import uuid

from fastapi import APIRouter

from spinml.errors import ArtifactError, ServerUnavailableError
from spinml.pipeline.stages import ArtifactKey, StageKind
from spinml.service.answers import documented
from spinml.service.auth import State
from spinml.service.schemas import Health

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Whether the process answers")
def healthz() -> Health:
    """Touches nothing else."""
    return Health()


@router.get(
    "/readyz",
    summary="Whether database and store can be used",
    responses=documented({ServerUnavailableError}, keyed=False),
)
def readyz(state: State) -> Health:
    """One query, and one look-up in the store."""
    state.database.ping()
    probe = ArtifactKey("probe", StageKind.SEGMENT, uuid.uuid4().hex * 2)
    try:
        state.store.exists(probe)
    except ArtifactError as error:
        raise ServerUnavailableError(
            f"the artifact store cannot be used: {error.message}",
            remedy="the operator finds it by store.artifacts",
        ) from None
    return Health()
