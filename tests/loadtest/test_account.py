"""What a load test would find, were something lost, doubled or slow."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from spinml.bundle import BundleLimits
from spinml.loadtest import account, samples
from spinml.loadtest.account import compare, executed_twice
from spinml.loadtest.bundles import bundle_of
from spinml.loadtest.devices import Account, Outcome
from spinml.loadtest.samples import RecordingTransport, Samples, latency
from spinml.pipeline.artifacts import ArtifactStore
from spinml.privacy.receive import bundle_from_parts
from spinml.service.database import Database
from spinml.service.journal import record_state
from spinml.service.keys import create_tenant
from spinml.service.models import Run, RunState
from tests.service.submissions import submit_to

IDS = [f"3f0c9a52-0000-4000-8000-00000000000{n}" for n in range(3)]
SENT = {("anna", f"load-{n}"): run for n, run in enumerate(IDS)}


def run_of(number: int, **changes: str) -> dict[str, object]:
    now = "2026-01-02T03:04:05Z"
    run = {"id": IDS[number], "state": "succeeded", "created_at": now, "updated_at": now}
    return {**run, "idempotency_key": f"load-{number}", **changes}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[..., account.Books]:
    """The books of an outcome against a server that lists ``runs``."""

    def told(runs: list[dict[str, object]], **changes: object) -> account.Books:
        whole = Outcome(submitted=dict(SENT), ended=dict.fromkeys(IDS, "succeeded"))
        transport = httpx.MockTransport(
            lambda request: httpx.Response(200, json={"runs": runs, "next": None})
        )
        real = account.Client
        monkeypatch.setattr(account, "Client", lambda *args: real(*args, transport=transport))
        outcome = dataclasses.replace(whole, **changes)
        books = compare("http://server", [Account("anna", "k"), Account("anna", "l")], outcome)
        monkeypatch.setattr(account, "Client", real)
        return books

    return told


def test_books_balance_or_say_what_does_not(told: Callable[..., account.Books]) -> None:
    runs = [run_of(n) for n in range(3)]
    assert told(runs).balanced
    lost = told(runs[:2])
    assert (lost.lost, lost.unfinished) == (("load-2",), (IDS[2],))
    other = told([*runs[:2], run_of(2, id="4" + IDS[2][1:])])
    assert other.lost == ("load-2",)
    twice = told([*runs, run_of(2, id="4" + IDS[2][1:])])
    assert twice.duplicated == ("load-2",)
    assert told([*runs, run_of(2, id="4" + IDS[2][1:], idempotency_key="load-9")]).duplicated
    assert told(runs, contradictions=["load-1"]).duplicated == ("load-1",)
    assert told([*runs[:2], run_of(2, state="failed")]).unfinished == (IDS[2],)
    assert told(runs, ended=dict.fromkeys(IDS[:2], "succeeded")).unfinished == (IDS[2],)
    assert not told(runs, errors=["overloaded"]).balanced


def test_a_run_that_was_begun_twice_is_counted(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/spinml.db")
    database.create()
    create_tenant(database, "anna")
    store = ArtifactStore.from_url(f"file://{tmp_path}/store")
    runs = [submit_to(database, store, "anna", key) for key in ("one", "two")]
    for run in (runs[0], runs[1], runs[1]):
        with database.write() as session:
            record_state(session, session.get_one(Run, run.id), RunState.RUNNING)
    assert executed_twice(database) == 1
    database.close()


@pytest.mark.parametrize("seed", [0, 1])
def test_bundles_are_valid_and_share_nothing(seed: int) -> None:
    bundle = bundle_of(seed)
    assert bundle_from_parts(bundle.to_parts(), BundleLimits()).digest == bundle.digest
    other = bundle_of(seed + 2)
    assert {s.text for s in bundle.segments}.isdisjoint(s.text for s in other.segments)


class Answers(httpx.BaseTransport):
    """In place of the network."""

    def __init__(self, *answers: httpx.Response) -> None:
        self._answers = list(answers)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._answers.pop(0)


@contextmanager
def recorded(*answers: httpx.Response) -> Iterator[tuple[httpx.Client, Samples]]:
    taken = Samples()
    transport = RecordingTransport(taken, ssl.create_default_context())
    transport._network = Answers(*answers)
    with httpx.Client(base_url="http://server", transport=transport) as client:
        yield client, taken


def test_requests_are_told_apart_and_refusals_are_no_latency() -> None:
    path, error = f"/v1/runs/{IDS[0]}", {"error": {"code": "overloaded"}}
    answers = [
        httpx.Response(201),
        httpx.Response(200),
        httpx.Response(304),
        httpx.Response(304),
        httpx.Response(503, json=error, headers={"Retry-After": "2"}),
        httpx.Response(503, text="Request dropped"),
        httpx.Response(200),
    ]
    with recorded(*answers) as (client, taken):
        client.post("/v1/runs")
        client.get(path)
        client.get(path, headers={"If-None-Match": '"1"'}, params={"wait": 0})
        client.get(path, headers={"If-None-Match": '"1"'}, params={"wait": 25})
        client.get(path)
        client.get(path)
        client.get(f"{path}/events")
    counts = {kind: found.count for kind, found in taken.latencies().items()}
    assert counts == {"events": 1, "status": 1, "submit": 1, "unchanged": 1}
    assert taken.sent_away == samples.SentAway({"overloaded": 1, "serve": 1}, 1)


def test_percentiles_are_in_milliseconds() -> None:
    found = latency([n / 1000 for n in range(101)])
    assert (found.count, found.p50_ms, found.p99_ms) == (101, pytest.approx(50), pytest.approx(99))
