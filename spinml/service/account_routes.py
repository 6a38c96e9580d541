"""A tenant's own account over HTTP: what it uses and may use, and what was erased for it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from spinml.service import quotas
from spinml.service.answers import documented
from spinml.service.auth import Deleter, Reader, State
from spinml.service.erasure import list_receipts
from spinml.service.schemas import QuotaStatus, ReceiptPage, receipt_status

router = APIRouter(prefix="/v1", tags=["account"])


@router.get(
    "/quota",
    summary="Look up the quota",
    description=(
        "What you use and may use. A queued run waits while you have as many running as you may, "
        "have used up your GPU-seconds, or have your store full."
    ),
    responses=documented(()),
)
def get_quota(state: State, tenant: Reader) -> QuotaStatus:
    return QuotaStatus(**asdict(quotas.usage(state.database, tenant)))


@router.get(
    "/receipts",
    summary="List receipts of erasures",
    description="What was erased, when, and its hashes; nothing of its content. Newest first.",
    responses=documented(()),
)
def get_receipts(
    state: State,
    tenant: Deleter,
    run: Annotated[UUID | None, Query(description="Of this deleted run alone.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> ReceiptPage:
    found = list_receipts(state.database, tenant, limit, run)
    return ReceiptPage(receipts=[receipt_status(receipt) for receipt in found])
