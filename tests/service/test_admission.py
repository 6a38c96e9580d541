"""Overload: what is too much is sent away at once, and what waits takes nobody's place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import httpx
import pytest
from pydantic import ValidationError
from ray.serve._private.build_app import build_app
from starlette.types import Receive, Scope, Send

from spinml.config import LoadConfig, ServerConfig, ServiceConfig
from spinml.service.admission import AdmissionMiddleware
from spinml.service.app import create_app
from spinml.service.serve import application
from spinml.service.state import ServiceState
from tests.service.conftest import Headers

START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"ok"}


class Held:
    """An ASGI app that holds each request before and behind the begin of its answer."""

    def __init__(self) -> None:
        self.work, self.end = asyncio.Event(), asyncio.Event()
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/waits":
            scope["state"]["place"].leave()
        self.inside += 1
        if scope["path"] == "/fails":
            raise ValueError("broken")
        if scope["path"] != "/healthz":
            await self.work.wait()
        await send(START)
        if scope["path"] != "/healthz":
            await self.end.wait()
        await send(END)


def run(test: Callable[[Held, httpx.AsyncClient], Awaitable[None]]) -> None:
    async def main() -> None:
        held = Held()
        transport = httpx.ASGITransport(AdmissionMiddleware(held, max_requests=2))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            async with asyncio.timeout(30):
                await test(held, client)

    asyncio.run(main())


async def begin(
    held: Held, client: httpx.AsyncClient, *paths: str
) -> list[asyncio.Task[httpx.Response]]:
    """Requests that are inside the app."""
    wanted = held.inside + len(paths)
    tasks = [asyncio.create_task(client.get(path)) for path in paths]
    while held.inside < wanted:
        await asyncio.sleep(0.01)
    return tasks


def test_one_too_many_is_told_when_to_come_back() -> None:
    async def test(held: Held, client: httpx.AsyncClient) -> None:
        taken = await begin(held, client, "/a", "/b")
        refused = await client.get("/c")
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "overloaded"
        assert int(refused.headers["Retry-After"]) > 0
        assert (await client.get("/healthz")).status_code == 200
        held.work.set()
        held.end.set()
        assert {task.status_code for task in await asyncio.gather(*taken)} == {200}
        assert (await client.get("/c")).status_code == 200

    run(test)


def test_who_waits_or_is_being_sent_an_answer_takes_no_place() -> None:
    async def test(held: Held, client: httpx.AsyncClient) -> None:
        tasks = await begin(held, client, "/waits", "/waits", "/a", "/b")
        assert (await client.get("/c")).status_code == 503
        held.work.set()  # the answers of a and b begin
        tasks += await begin(held, client, "/c", "/d")
        held.end.set()
        assert {task.status_code for task in await asyncio.gather(*tasks)} == {200}

    run(test)


def test_a_request_that_fails_gives_its_place_back() -> None:
    async def test(held: Held, client: httpx.AsyncClient) -> None:
        for _ in range(5):
            with pytest.raises(ValueError, match="broken"):
                await client.get("/fails")

    run(test)


def test_uploads_of_one_tenant_keep_nobody_else_out(state: ServiceState, headers: Headers) -> None:
    load = LoadConfig(max_uploads_per_tenant=2)
    service = state.config.service.model_copy(update={"load": load})
    state = replace(state, config=state.config.model_copy(update={"service": service}))
    reading, end = asyncio.Semaphore(0), asyncio.Event()
    asked: list[str] = []

    async def trickle() -> AsyncIterator[bytes]:
        yield b"--b"
        reading.release()  # for the server asks for more
        await end.wait()

    async def unread() -> AsyncIterator[bytes]:
        asked.append("its body")
        yield b"--b"

    async def main() -> None:
        transport = httpx.ASGITransport(create_app(state))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:

            async def submit(tenant: str, body: AsyncIterator[bytes] | bytes) -> httpx.Response:
                form = {"Content-Type": "multipart/form-data; boundary=b"}
                told = headers(tenant, Idempotency_Key="one") | form
                return await client.post("/v1/runs", headers=told, content=body)

            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                slow = [group.create_task(submit("anna", trickle())) for _ in range(2)]
                for _ in slow:
                    await reading.acquire()
                refused = await submit("anna", unread())
                assert refused.status_code == 429
                assert refused.json()["error"]["code"] == "rate_limited"
                assert int(refused.headers["Retry-After"]) > 0
                assert asked == []
                assert (await submit("bert", b"--b--")).status_code == 400
                end.set()
            assert {task.result().status_code for task in slow} == {400}
            assert (await submit("anna", b"--b--")).status_code == 400

    asyncio.run(main())


def test_serve_scales_the_ingress_and_queues_little() -> None:
    load = LoadConfig(max_requests=30, max_listeners=50, target_ongoing_requests=20)
    config = ServerConfig(service=ServiceConfig(replicas=2, max_replicas=6, load=load))
    built = build_app(application(config), name="app")
    (ingress,) = [d for d in built.deployments if d.name == "ingress"]
    scaling = ingress._deployment_config.autoscaling_config
    assert scaling is not None
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 6)
    assert scaling.target_ongoing_requests == 20
    assert ingress.max_ongoing_requests > 30 + 50, "the replica itself says no, in our words"
    assert 0 < ingress.max_queued_requests < 1000
    assert ingress._deployment_config.backpressure_config.retry_after_s > 0


def test_fewer_replicas_at_most_than_at_least_are_refused() -> None:
    with pytest.raises(ValidationError, match="replicas is 6 and max_replicas 4"):
        ServiceConfig(replicas=6)
