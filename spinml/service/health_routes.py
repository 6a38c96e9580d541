"""For probes: is the process there, can the service do its work. The only routes without a key."""

from __future__ import annotations

from fastapi import APIRouter, Request

from spinml.errors import ServerUnavailableError
from spinml.service.answers import documented
from spinml.service.health import Readiness
from spinml.service.schemas import Health

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Whether the process answers")
async def healthz() -> Health:
    """Touches nothing else, and needs no thread: hanging requests cannot keep it from answering."""
    return Health()


@router.get(
    "/readyz",
    summary="Whether runs are taken and carried out",
    description=(
        "Tests that the database answers and has this version's tables, that the store takes a "
        "file and gives it back, that a dispatcher works, and that Ray answers; within seconds. "
        "`details.failed` names what does not."
    ),
    responses=documented({ServerUnavailableError}, keyed=False),
)
async def readyz(request: Request) -> Health:
    readiness: Readiness = request.app.state.readiness
    failed = await readiness.failed_soon()
    if failed:
        raise ServerUnavailableError(
            f"not ready: {', '.join(failed)}",
            remedy="the operator finds it by details.failed and the server's log",
            details={"failed": failed},
        )
    return Health()
