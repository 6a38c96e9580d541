"""Runs over HTTP: submit, list, cancel, delete."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response, status
from fastapi.concurrency import run_in_threadpool

from spinml.errors import (
    ArtifactError,
    BodyTimeoutError,
    BundleLimitError,
    ConflictError,
    ImageFormatError,
    MalformedBundleError,
    MalformedMultipartError,
    ManifestJsonError,
    NotFoundError,
    PayloadTooLargeError,
    PluginError,
    PreferenceViolationError,
    QuotaExceededError,
    QuotaSpentError,
    ServerUnavailableError,
    UndeclaredPartError,
    UnknownFeatureError,
)
from spinml.privacy.receive import bundle_from_parts
from spinml.service import metrics, runs
from spinml.service.answers import STORE_ERRORS, documented
from spinml.service.auth import AllUploads, Deleter, Reader, State, Submitter
from spinml.service.erasure import delete_run as delete_with_receipt
from spinml.service.erasure import erase
from spinml.service.models import Run
from spinml.service.multipart import BODY, read_parts
from spinml.service.schemas import RunPage, RunStatus, run_status
from spinml.service.submit import submit

router = APIRouter(prefix="/v1/runs", tags=["runs"])
_log = logging.getLogger(__name__)

IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        pattern=r"^[\x21-\x7e]+$",
        description="Names this submission: sending it again makes no second run.",
    ),
]


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    summary="Submit a sanitized bundle",
    description=(
        "Checks the bundle against the preference it declares, stores it and queues a run. The "
        "same key with the same bundle answers 200 with the run it made."
    ),
    responses={
        200: {"model": RunStatus, "description": "This was submitted before: the same run."},
        201: {"headers": {"Location": {"schema": {"type": "string"}}}},
        **documented(
            {
                *STORE_ERRORS,
                BodyTimeoutError,
                BundleLimitError,
                ConflictError,
                ImageFormatError,
                MalformedBundleError,
                MalformedMultipartError,
                ManifestJsonError,
                PayloadTooLargeError,
                PluginError,
                PreferenceViolationError,
                QuotaExceededError,
                QuotaSpentError,
                ServerUnavailableError,
                UndeclaredPartError,
                UnknownFeatureError,
            }
        ),
    },
    openapi_extra=BODY,
)
async def submit_run(
    request: Request,
    response: Response,
    state: State,
    uploads: AllUploads,
    tenant: Submitter,
    idempotency_key: IdempotencyKey,
    priority: Annotated[
        int, Query(ge=-100, le=100, description="Among your own runs; higher ones begin first.")
    ] = 0,
) -> RunStatus:
    limits = state.config.service.limits
    with uploads.place(tenant):
        parts = await read_parts(request, limits)

    def check_and_submit() -> tuple[Run, bool]:
        bundle = bundle_from_parts(parts, limits)
        return submit(state, tenant, idempotency_key, bundle, priority)

    run, is_new = await run_in_threadpool(check_and_submit)
    if is_new:
        metrics.bundle_taken(tenant, sum(len(part) for part in parts.values()))
    response.headers["Location"] = f"/v1/runs/{run.id}"
    if not is_new:
        response.status_code = status.HTTP_200_OK
    return run_status(run)


@router.get(
    "",
    summary="List runs",
    description="Your runs, newest first; those of a sweep by the prefix of their keys.",
    responses=documented({NotFoundError}),
)
def list_runs(
    state: State,
    tenant: Reader,
    limit: Annotated[int, Query(ge=1, le=200, description="Runs a page.")] = 50,
    after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    key_prefix: Annotated[
        str, Query(max_length=128, description="With what their `Idempotency-Key` begins.")
    ] = "",
) -> RunPage:
    page, more = runs.list_runs(state.database, tenant, limit, after, key_prefix)
    return RunPage(runs=[run_status(run) for run in page], next=page[-1].id if more else None)


@router.post(
    "/{run_id}/cancel",
    summary="Cancel a run",
    description="A queued run ends now, a running one as soon as its stage notices.",
    responses=documented({NotFoundError, ConflictError}),
)
def cancel_run(state: State, tenant: Submitter, run_id: str) -> RunStatus:
    return run_status(runs.request_cancel(state.database, tenant, run_id))


@router.delete(
    "/{run_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    summary="Delete a run",
    description=(
        "Erases what was sent, the run's rows, and every artifact that no other run of yours "
        "holds, from the store and every node's cache; `/v1/receipts` keeps their hashes. A "
        "running one is to be cancelled first. 202: the run is deleted; its artifacts are erased "
        "as soon as the store, or a node, answers again; its receipt says when that was."
    ),
    responses={
        202: {"description": "Deleted; a part is still to be erased."},
        **documented({NotFoundError, ConflictError}),
    },
)
def delete_run(state: State, tenant: Deleter, run_id: str) -> Response:
    keys = delete_with_receipt(state.database, tenant, run_id)
    try:
        erase(state.database, state.store, state.evict, keys)
    except ArtifactError as error:  # what is left is noted, and the dispatcher's to finish
        _log.warning("run %s is deleted and not yet erased: %s", run_id, error.code)
        return Response(status_code=status.HTTP_202_ACCEPTED)
    return Response(status_code=status.HTTP_204_NO_CONTENT)
