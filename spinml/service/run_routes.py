"""Runs over HTTP: submit, look up, list, follow, cancel, delete."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response, status
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

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
from spinml.service.auth import (
    AllListeners,
    Deleter,
    OwnListener,
    Reader,
    SeenRun,
    State,
    Submitter,
)
from spinml.service.erasure import delete_run as delete_with_receipt
from spinml.service.erasure import erase
from spinml.service.etags import ETAG, NOT_MODIFIED, IfNoneMatch, has, not_modified, quoted
from spinml.service.models import Event, Run, RunState
from spinml.service.multipart import BODY, read_parts
from spinml.service.schemas import RunPage, RunStatus, run_status
from spinml.service.state import ServiceState
from spinml.service.submit import submit
from spinml.service.versions import version

router = APIRouter(prefix="/v1/runs", tags=["runs"])
LONGEST_WAIT_S = 30.0
"""Proxies and devices give up a silent connection after a minute or later."""
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
    tenant: Submitter,
    idempotency_key: IdempotencyKey,
    priority: Annotated[
        int, Query(ge=-100, le=100, description="Among your own runs; higher ones begin first.")
    ] = 0,
) -> RunStatus:
    limits = state.config.service.limits
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


@router.get(
    "/{run_id}",
    response_model=RunStatus,
    summary="Look up a run",
    description=(
        "Its state, and how far each stage is. With `If-None-Match` it is sent only once it has "
        "changed; with `wait`, too, that is waited for (a long poll), and 304 tells that it did "
        "not change so long."
    ),
    responses={200: {"headers": ETAG}, 304: NOT_MODIFIED, **documented({NotFoundError})},
)
async def get_run(
    request: Request,
    response: Response,
    state: State,
    listeners: AllListeners,
    tenant: Reader,
    run_id: str,
    if_none_match: IfNoneMatch = None,
    wait: Annotated[
        float, Query(ge=0, le=LONGEST_WAIT_S, description="Seconds; needs `If-None-Match`.")
    ] = 0,
) -> RunStatus | Response:
    if if_none_match is not None:
        id_ = runs.parse_id(run_id)
        seen = await run_in_threadpool(version, state.database, tenant, id_)
        if has(if_none_match, str(seen)):
            if not wait:
                return not_modified(str(seen))
            with listeners.place(tenant):
                request.state.place.leave()
                if not await listeners.changed(id_, seen, wait):
                    return not_modified(str(seen))
    run = await run_in_threadpool(runs.get_run, state.database, tenant, run_id)
    response.headers["ETag"] = quoted(str(run.last_event))
    return run_status(run)


@router.get(
    "/{run_id}/events",
    summary="Follow a run",
    description=(
        "Server-sent events: `state` with a StateEvent, `stage` with a StageEvent. Ids count up; "
        "`Last-Event-ID` goes on behind one. Ends with the run's final state."
    ),
    response_class=EventSourceResponse,
    responses=documented({NotFoundError}),
)
async def follow_run(
    state: State,
    run: SeenRun,
    listeners: OwnListener,
    last_event_id: Annotated[int, Header(alias="Last-Event-ID", ge=0, lt=2**31)] = 0,
) -> AsyncIterator[ServerSentEvent]:
    seq = last_event_id
    if RunState(run.state).final and run.last_event <= seq:  # nothing more will come
        return
    while True:
        events = await listeners.read(partial(_events, state, run, seq))
        if events is None:  # deleted meanwhile
            return
        for event in events:
            seq = event.seq
            yield ServerSentEvent(data=event.data, event=event.kind, id=str(seq))
            if event.kind == "state" and RunState(event.data["state"]).final:
                return
        await listeners.changed(run.id, seq)


def _events(state: ServiceState, run: Run, seq: int) -> Sequence[Event] | None:
    return runs.events_after(state.database, run.tenant_id, run.id, seq)


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
