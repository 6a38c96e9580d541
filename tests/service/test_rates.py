"""Rates of a key: 429 with Retry-After, told on every answer; counted alone or together."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from limits.storage import MemoryStorage

from spinml.config import RateConfig, ServerConfig
from spinml.device.client import Client
from spinml.errors import ConfigError, RateLimitedError, RateStoreUnavailableError
from spinml.service.app import create_app
from spinml.service.keys import create_key, create_tenant
from spinml.service.rates import REQUESTS, RateLimiter
from spinml.service.state import ServiceState
from tests.service import bundles
from tests.service.redis_server import running_redis
from tests.service.test_access import bearer
from tests.service.test_submit import refuses, send

RATES = RateConfig(requests_per_minute=5, submissions_per_minute=2)


@pytest.fixture
def state(config: ServerConfig) -> Iterator[ServiceState]:
    service = config.service.model_copy(update={"rates": RATES})
    state = ServiceState.from_config(config.model_copy(update={"service": service}))
    for tenant in ("anna", "bert"):
        create_tenant(state.database, tenant)
    yield state
    state.database.close()


def test_one_request_too_many(client: TestClient, state: ServiceState) -> None:
    first, second = (bearer(create_key(state.database, "anna")) for _ in range(2))
    for left in range(4, -1, -1):
        answer = client.get("/v1/runs", headers=first)
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Policy"] == '"requests";q=5;w=60'
        assert re.fullmatch(rf'"requests";r={left};t=\d+', answer.headers["RateLimit"])
    refused = client.get("/v1/runs", headers=first)
    refuses(refused, 429, "rate_limited")
    assert 50 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["Retry-After"] in refused.json()["error"]["remedy"]
    assert client.get("/v1/runs", headers=second).status_code == 200  # a key, not a tenant
    assert client.get("/healthz").status_code == 200


def test_submissions_have_their_own_rate(client: TestClient, state: ServiceState) -> None:
    mine = bearer(create_key(state.database, "anna"))
    parts = bundles.bundle().to_parts()
    answers = [send(client, mine, parts, key) for key in ("a", "b", "c")]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    assert '"submissions";r=0' in answers[1].headers["RateLimit"]
    assert answers[2].json()["error"]["details"]["rate"] == "submissions"
    assert client.get("/v1/runs", headers=mine).status_code == 200


def test_a_wrong_key_counts_for_nobody(client: TestClient, state: ServiceState) -> None:
    good = create_key(state.database, "anna")
    wrong = bearer(good[:-2] + "xx")
    for _ in range(7):
        refuses(client.get("/v1/runs", headers=wrong), 401, "authentication_failed")
    assert client.get("/v1/runs", headers=bearer(good)).status_code == 200


def test_errors_and_downloads_tell_the_rate_too(client: TestClient, state: ServiceState) -> None:
    mine = bearer(create_key(state.database, "anna"))
    for path in ("/v1/runs/none", "/v1/runs/none/model", "/v1/runs?limit=0"):
        assert "RateLimit" in client.get(path, headers=mine).headers


class InProcess(httpx.BaseTransport):
    """The device's transport into the application."""

    def __init__(self, served: TestClient) -> None:
        self._served = served

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._served.request(
            request.method,
            request.url.path,
            content=request.read(),
            headers=list(request.headers.items()),
        )
        return httpx.Response(
            answer.status_code, headers=dict(answer.headers), content=answer.content
        )


def test_the_device_comes_back_and_gets_through(
    state: ServiceState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client against the real application: too many, told to wait, through."""
    key = create_key(state.database, "anna")
    clock, waits = [time.time()], []
    monkeypatch.setattr("limits.storage.memory.time.time", lambda: clock[0])
    monkeypatch.setattr("spinml.service.rates.time.time", lambda: clock[0])

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr("tenacity.nap.time.sleep", sleep)
    with (
        TestClient(create_app(state)) as served,
        Client("http://spinml", key, transport=InProcess(served)) as device,
    ):
        run = device.submit(bundles.bundle())
        states = [device.status(str(run.id)).state for _ in range(6)]
    assert states == ["queued"] * 6
    assert len(waits) == 1
    assert 50 < waits[0] <= 61


def test_no_rate_is_no_limit() -> None:
    limiter = RateLimiter(MemoryStorage(), {REQUESTS: None})
    assert [limiter.count("a", [REQUESTS]) for _ in range(9)] == [[]] * 9


def test_replicas_in_memory_count_each_for_itself() -> None:
    replicas = [RateLimiter.from_config(RATES) for _ in range(2)]
    for replica in replicas:
        for _ in range(5):
            replica.count("key", [REQUESTS])
        with pytest.raises(RateLimitedError):
            replica.count("key", [REQUESTS])


def shared(path: Path, url: str) -> RateConfig:
    path.write_text(url)
    return RateConfig(counters="redis", redis_url_file=path, requests_per_minute=5)


def test_replicas_share_one_redis(tmp_path: Path) -> None:
    with running_redis(tmp_path) as (url, process):
        config = shared(tmp_path / "url", url)
        replicas = [RateLimiter.from_config(config) for _ in range(2)]
        for number in range(5):
            (standing,) = replicas[number % 2].count("key", [REQUESTS])
            assert standing.left == 4 - number
        for replica in replicas:
            with pytest.raises(RateLimitedError) as caught:
                replica.count("key", [REQUESTS])
            assert 50 <= caught.value.details["retry_after_s"] <= 60
        replicas[0].count("another", [REQUESTS])
        process.kill()
        process.wait()
        for attempt in (
            lambda: replicas[0].count("another", [REQUESTS]),
            lambda: RateLimiter.from_config(config),
        ):
            with pytest.raises(RateStoreUnavailableError) as told:
                attempt()
            assert url not in str(told.value)


@pytest.mark.parametrize("url", ["", "memcached://host", "redis://host:port/x"])
def test_no_redis_url(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError):
        RateLimiter.from_config(shared(tmp_path / "url", url))


@pytest.mark.parametrize(
    "fields",
    [
        {"counters": "redis"},
        {"counters": "redis", "redis_url_env": "A", "redis_url_file": "b"},
        {"redis_url_env": "A"},
        {"requests_per_minute": 0},
    ],
)
def test_contradictory_settings(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"redis|requests_per_minute"):
        RateConfig.model_validate(fields)
