"""One run over HTTP: look it up, wait for news of it, follow it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from spinml.errors import NotFoundError
from spinml.service import runs
from spinml.service.answers import documented
from spinml.service.auth import AllListeners, OwnListener, Reader, SeenRun, State
from spinml.service.etags import ETAG, NOT_MODIFIED, IfNoneMatch, has, not_modified, quoted
from spinml.service.models import Event, Run, RunState
from spinml.service.schemas import RunStatus, run_status
from spinml.service.state import ServiceState
from spinml.service.versions import version

router = APIRouter(prefix="/v1/runs", tags=["runs"])
LONGEST_WAIT_S = 30.0
"""Proxies and devices give up a silent connection after a minute or later."""


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
        if len(events) < runs.EVENTS_AT_ONCE:  # else there may be more already
            await listeners.changed(run.id, seq)


def _events(state: ServiceState, run: Run, seq: int) -> Sequence[Event] | None:
    return runs.events_after(state.database, run.tenant_id, run.id, seq)
