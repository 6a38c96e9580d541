"""Following without cost: ETags, long polls, events, and how many may be at it at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx_sse import connect_sse

from spinml.config import LoadConfig, ServerConfig
from spinml.errors import OverloadedError, RateLimitedError
from spinml.service.app import create_app
from spinml.service.listeners import Listeners
from spinml.service.runs import request_cancel
from spinml.service.state import ServiceState
from spinml.service.versions import versions
from tests.service import bundles
from tests.service.conftest import Headers
from tests.service.submissions import submit_to
from tests.service.test_dispatcher import wait_for
from tests.service.test_submit import refuses, send

Submit = Callable[[], str]


@pytest.fixture
def submit(client: TestClient, headers: Headers) -> Submit:
    def submit() -> str:
        answer = send(client, headers(), bundles.bundle().to_parts(), "one")
        return str(answer.json()["id"])

    return submit


def later(seconds: float, do: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, do)
    timer.start()
    return timer


def test_a_run_that_did_not_change_is_not_sent_again(
    client: TestClient, headers: Headers, submit: Submit, state: ServiceState
) -> None:
    path = f"/v1/runs/{submit()}"
    first = client.get(path, headers=headers())
    etag = first.headers["ETag"]
    again = client.get(path, headers=headers(if_none_match=etag))
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    request_cancel(state.database, "anna", first.json()["id"])
    changed = client.get(path, headers=headers(if_none_match=etag))
    assert (changed.status_code, changed.json()["state"]) == (200, "cancelled")
    assert changed.headers["ETag"] != etag
    theirs = client.get(path, headers=headers("bert", if_none_match=etag))
    refuses(theirs, 404, "not_found")


def test_a_long_poll_ends_with_the_change(
    client: TestClient, headers: Headers, submit: Submit, state: ServiceState
) -> None:
    path = f"/v1/runs/{submit()}"
    first = client.get(f"{path}?wait=30", headers=headers())  # nothing known: nothing to wait for
    known = headers(if_none_match=first.headers["ETag"])
    began = time.monotonic()
    assert client.get(f"{path}?wait=0.5", headers=known).status_code == 304
    assert time.monotonic() - began >= 0.5
    timer = later(0.5, lambda: request_cancel(state.database, "anna", first.json()["id"]))
    answer = client.get(f"{path}?wait=30", headers=known)
    timer.join()
    assert answer.json()["state"] == "cancelled"
    refuses(client.get(f"{path}?wait=31", headers=known), 422, "invalid_request")


def test_a_long_poll_ends_when_the_run_is_deleted(
    client: TestClient, headers: Headers, submit: Submit
) -> None:
    path = f"/v1/runs/{submit()}"
    known = headers(if_none_match=client.get(path, headers=headers()).headers["ETag"])
    timer = later(0.5, lambda: client.delete(path, headers=headers()).raise_for_status())
    refuses(client.get(f"{path}?wait=30", headers=known), 404, "not_found")
    timer.join()


@pytest.fixture
def crowded(
    config: ServerConfig, state: ServiceState, headers: Headers
) -> Iterator[tuple[TestClient, Listeners, str]]:
    """A service for one listener, and the path of a run that waits."""
    load = LoadConfig(max_requests=20, max_listeners=1)
    few = config.model_copy(update={"service": config.service.model_copy(update={"load": load})})
    app: FastAPI = create_app(ServiceState(**{**vars(state), "config": few}))
    with TestClient(app) as client:
        answer = send(client, headers(), bundles.bundle().to_parts(), "one")
        yield client, app.state.listeners, answer.headers["Location"]


def test_a_listener_too_many_is_sent_away_and_comes_back(
    crowded: tuple[TestClient, Listeners, str], headers: Headers
) -> None:
    client, listeners, path = crowded
    known = headers(if_none_match=client.get(path, headers=headers()).headers["ETag"])
    with ThreadPoolExecutor() as pool:
        holding = pool.submit(client.get, f"{path}?wait=30", headers=known)
        wait_for(lambda: listeners.count == 1)
        for refused in (f"{path}/events", f"{path}?wait=1"):
            answer = client.get(refused, headers=known)
            refuses(answer, 503, "overloaded")
            assert int(answer.headers["Retry-After"]) > 0
        assert client.get(path, headers=headers()).status_code == 200, "others are answered"
        client.post(f"{path}/cancel", headers=headers()).raise_for_status()
        assert holding.result(30).json()["state"] == "cancelled"
    for _ in range(3):  # each gives its place back
        with connect_sse(client, "GET", f"{path}/events", headers=headers()) as source:
            assert len(list(source.iter_sse())) == 2


def test_one_question_answers_for_all() -> None:
    asked: list[frozenset[UUID]] = []
    now = {uuid4(): 1 for _ in range(300)}

    def ask(run_ids: frozenset[UUID]) -> dict[UUID, int]:
        asked.append(run_ids)
        return dict(now)

    async def main() -> None:
        listeners = Listeners(ask, most=1000, most_per_tenant=1000, every_s=0.05)
        waiting = [asyncio.create_task(listeners.changed(run_id, 1)) for run_id in now]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in waiting)
        gone, *others = list(now)
        del now[gone]
        for run_id in others[:5]:
            now[run_id] += 1
        await asyncio.wait(waiting[:6], timeout=20)
        assert [task.done() for task in waiting] == [True] * 6 + [False] * 294
        waiting[6].cancel()
        assert not await listeners.changed(others[-1], 1, timeout_s=0.01)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        count = len(asked)
        await asyncio.sleep(0.3)
        assert len(asked) <= count + 1, "nobody listens, nobody asks"

    asyncio.run(main())
    assert len(asked[0]) == 300
    assert len(asked) < 100


def test_listeners_are_told_that_the_database_went_away() -> None:
    answers: list[Any] = [ValueError("away"), {}]

    def ask(run_ids: frozenset[UUID]) -> dict[UUID, int]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    async def main() -> None:
        listeners = Listeners(ask, most=2, most_per_tenant=2, every_s=0.01)
        with pytest.raises(ValueError, match="away"):
            await listeners.changed(uuid4(), 1)
        assert await listeners.changed(uuid4(), 1), "the next look is a new one"

    asyncio.run(main())


def test_places_are_bounded_by_tenant_and_in_all() -> None:
    listeners = Listeners(lambda run_ids: {}, most=3, most_per_tenant=2)
    with listeners.place("anna"), listeners.place("anna"):
        with pytest.raises(RateLimitedError), listeners.place("anna"):
            pass
        with listeners.place("bert"), pytest.raises(OverloadedError), listeners.place("cleo"):
            pass
        with listeners.place("cleo"):
            pass
    with listeners.place("anna"):
        pass


def test_versions_count_events_and_leave_out_what_is_gone(state: ServiceState) -> None:
    first = submit_to(state.database, state.store, "anna", "one")
    second = submit_to(state.database, state.store, "bert", "one")
    request_cancel(state.database, "bert", str(second.id))
    asked = [first.id, second.id, *(uuid4() for _ in range(1200))]
    assert versions(state.database, asked) == {first.id: 1, second.id: 2}
