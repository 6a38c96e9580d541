"""Runs from submission to deletion, carried out by a dispatcher without a cluster."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from httpx_sse import ServerSentEvent, connect_sse

from spinml.config import RetentionConfig
from spinml.distributed.caches import evict_here
from spinml.errors import GenerationError, StoreUnavailableError
from spinml.pipeline.stages import ArtifactKey, StageKind
from spinml.service import runs
from spinml.service.dispatcher import Dispatcher
from spinml.service.erasure import finish_erasures
from spinml.service.journal import record_stage
from spinml.service.listeners import Listeners
from spinml.service.models import Run
from spinml.service.state import ServiceState
from tests.service import bundles
from tests.service.conftest import Headers
from tests.service.executors import QuickExecutor
from tests.service.test_submit import refuses, send


@pytest.fixture
def executor(state: ServiceState) -> QuickExecutor:
    return QuickExecutor(state.store)


@pytest.fixture
def dispatcher(state: ServiceState, executor: QuickExecutor) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(
        state.database,
        state.store,
        executor,
        evict_here,
        retention=RetentionConfig(bundles="with_run"),
        lease_s=2.0,
        poll_s=0.05,
    )
    dispatcher.start()
    yield dispatcher
    dispatcher.stop()


@pytest.fixture
def submit(client: TestClient, headers: Headers) -> Callable[..., str]:
    def submit(key: str = "one", **changes: Any) -> str:
        answer = send(client, headers(), bundles.bundle(**changes).to_parts(), key)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    return submit


@pytest.fixture
def until(client: TestClient, headers: Headers) -> Callable[[str, str], dict[str, Any]]:
    def until(run_id: str, state: str, timeout_s: float = 20) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            run = dict(client.get(f"/v1/runs/{run_id}", headers=headers()).json())
            if run["state"] == state:
                return run
            time.sleep(0.02)
        raise AssertionError(f"still {run['state']}: {run['error']}")

    return until


Submit = Callable[..., str]
Until = Callable[[str, str], dict[str, Any]]


@pytest.mark.usefixtures("dispatcher")
def test_results_of_a_run(
    client: TestClient, headers: Headers, submit: Submit, until: Until
) -> None:
    path = f"/v1/runs/{submit()}"
    run = until(path.rsplit("/", 1)[1], "succeeded")
    assert {stage["state"] for stage in run["stages"]} == {"done"}
    assert {(stage["done"], stage["total"], stage["unit"]) for stage in run["stages"]} == {
        (2, 2, "steps")
    }
    model = client.get(f"{path}/model", headers=headers())
    assert (model.content, model.headers["Content-Length"]) == (b"onnx", "4")
    again = client.get(f"{path}/model", headers=headers(if_none_match=model.headers["ETag"]))
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"{path}/embeddings", headers=headers()).content == b"npz"
    archive = client.get(f"{path}/dataset", headers=headers()).content
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        shard = tar.extractfile("shards/000.parquet")
        assert shard is not None
        assert shard.read() == b"shard" * 1000
        assert tar.getnames() == ["README.md", "shards/000.parquet"]
    report = client.get(f"{path}/report", headers=headers()).json()
    assert (report["images"], report["rejected"]) == (8, 1)
    assert len(report["history"]) == 1
    assert len(report["samples"]["sitting"]) == 1
    assert len(report["references"]["target"]) == 2
    page = client.get(f"{path}/report", headers=headers(accept="text/html"))
    assert page.headers["content-type"].startswith("text/html")
    assert "dog" in page.text


@pytest.mark.usefixtures("dispatcher")
def test_a_mixtures_datasets_come_in_folders(
    client: TestClient, headers: Headers, submit: Submit, until: Until
) -> None:
    run = submit(mixture=[{"target": "L0"}])
    stages = [stage["label"] for stage in until(run, "succeeded")["stages"]]
    assert [label for label in stages if "generate" in label] == [
        "generate (L2, L0)",
        "generate (L0, L0)",
    ]
    answer = client.get(f"/v1/runs/{run}/dataset", headers=headers())
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        assert tar.getnames() == [
            f"{folder}/{file}"
            for folder in ("dataset", "dataset_2")
            for file in ("README.md", "shards/000.parquet")
        ]
    again = client.get(
        f"/v1/runs/{run}/dataset", headers=headers(if_none_match=answer.headers["ETag"])
    )
    assert again.status_code == 304


@pytest.mark.parametrize("what", ["model", "dataset", "embeddings", "report"])
def test_results_before_they_exist(
    client: TestClient, headers: Headers, submit: Submit, what: str
) -> None:
    refuses(client.get(f"/v1/runs/{submit()}/{what}", headers=headers()), 409, "not_ready")


def events(client: TestClient, run_id: str, headers: dict[str, str]) -> list[ServerSentEvent]:
    with connect_sse(client, "GET", f"/v1/runs/{run_id}/events", headers=headers) as source:
        source.response.raise_for_status()
        return list(source.iter_sse())


@pytest.mark.usefixtures("dispatcher")
def test_events_go_to_the_end_and_resume(
    client: TestClient, headers: Headers, submit: Submit
) -> None:
    run_id = submit()
    seen = events(client, run_id, headers())
    assert [int(event.id) for event in seen] == list(range(1, len(seen) + 1))
    states = [json.loads(event.data)["state"] for event in seen if event.event == "state"]
    assert states == ["queued", "running", "succeeded"]
    stages = [json.loads(event.data)["stage"] for event in seen if event.event == "stage"]
    assert {stage["state"] for stage in stages} == {"running", "done"}
    rest = events(client, run_id, headers(last_event_id="3"))
    assert [str(event) for event in rest] == [str(event) for event in seen[3:]]
    assert events(client, run_id, headers(last_event_id=seen[-1].id)) == []


@pytest.mark.parametrize("more", [9, 10])
def test_a_long_history_is_read_in_parts(
    client: TestClient,
    headers: Headers,
    submit: Submit,
    state: ServiceState,
    monkeypatch: pytest.MonkeyPatch,
    more: int,
) -> None:
    run_id, read = submit(), runs.events_after
    with state.database.write() as session:
        run = session.get_one(Run, UUID(run_id))
        for _ in range(more):
            record_stage(session, run, run.stages[0])
    client.post(f"/v1/runs/{run_id}/cancel", headers=headers()).raise_for_status()
    parts: list[int] = []

    def count(*arguments: Any) -> Any:
        found = read(*arguments)
        parts.append(len(found or ()))
        return found

    async def waits(*arguments: object) -> bool:
        raise AssertionError("the rest is there already")

    monkeypatch.setattr(runs, "EVENTS_AT_ONCE", 4)
    monkeypatch.setattr(runs, "events_after", count)
    monkeypatch.setattr(Listeners, "changed", waits)
    seen = events(client, run_id, headers())
    assert [int(event.id) for event in seen] == list(range(1, more + 3))
    assert json.loads(seen[-1].data)["state"] == "cancelled"
    assert parts == [4, 4, more - 6]


@pytest.mark.parametrize("last", ["-1", "many"])
def test_events_behind_no_number(
    client: TestClient, headers: Headers, submit: Submit, last: str
) -> None:
    path = f"/v1/runs/{submit()}/events"
    refuses(client.get(path, headers=headers(last_event_id=last)), 422, "invalid_request")


def test_a_failed_stage_fails_the_run_and_says_why(
    executor: QuickExecutor,
    dispatcher: Dispatcher,
    client: TestClient,
    headers: Headers,
    submit: Submit,
    until: Until,
) -> None:
    executor.error = GenerationError("9 of 10 broken", remedy="draw more", details={"broken": 9})
    run = until(submit(), "failed")
    assert run["error"] == executor.error.as_dict()
    assert "failed" in {stage["state"] for stage in run["stages"]}
    refuses(client.get(f"/v1/runs/{run['id']}/model", headers=headers()), 409, "not_ready")
    refuses(client.post(f"/v1/runs/{run['id']}/cancel", headers=headers()), 409, "conflict")


def test_an_unexpected_error_is_not_told(
    executor: QuickExecutor, dispatcher: Dispatcher, submit: Submit, until: Until
) -> None:
    executor.error = ValueError("a person's words")
    run = until(submit(), "failed")
    assert run["error"]["code"] == "internal"
    assert "words" not in str(run)


def test_cancel_a_queued_run(client: TestClient, headers: Headers, submit: Submit) -> None:
    run_id = submit()
    for _ in range(2):
        answer = client.post(f"/v1/runs/{run_id}/cancel", headers=headers())
        assert answer.json()["state"] == "cancelled"
    assert [event.event for event in events(client, run_id, headers())] == ["state", "state"]


def test_cancel_and_delete_a_running_run(
    executor: QuickExecutor,
    dispatcher: Dispatcher,
    client: TestClient,
    headers: Headers,
    submit: Submit,
    until: Until,
    state: ServiceState,
) -> None:
    executor.gate = lambda stage: stage.kind is not StageKind.GENERATE
    run_id = submit()
    until(run_id, "running")
    assert executor.entered.wait(5)
    refuses(client.delete(f"/v1/runs/{run_id}", headers=headers()), 409, "conflict")
    client.post(f"/v1/runs/{run_id}/cancel", headers=headers())
    run = until(run_id, "cancelled")
    assert run["error"] is None
    assert {s["state"] for s in run["stages"]} <= {"done", "cancelled"}
    assert client.delete(f"/v1/runs/{run_id}", headers=headers()).status_code == 204
    assert state.store.list_keys("anna", partial=True) == []


@pytest.mark.usefixtures("dispatcher")
def test_delete_erases_and_spares_what_another_run_holds(
    client: TestClient, headers: Headers, submit: Submit, until: Until, state: ServiceState
) -> None:
    first, second = submit("one"), submit("two", images_per_class=8)
    for run_id in (first, second):
        until(run_id, "succeeded")
    before = set(state.store.list_keys("anna"))
    assert client.delete(f"/v1/runs/{first}", headers=headers()).status_code == 204
    refuses(client.get(f"/v1/runs/{first}", headers=headers()), 404, "not_found")
    gone = before - set(state.store.list_keys("anna"))
    assert {key.kind.value for key in gone} == {"draw", "generate", "train", "export", "measure"}
    for what in ("model", "dataset", "report"):
        assert client.get(f"/v1/runs/{second}/{what}", headers=headers()).status_code == 200
    client.delete(f"/v1/runs/{second}", headers=headers())
    assert state.store.list_keys("anna", partial=True) == []
    assert client.get("/v1/runs", headers=headers()).json()["runs"] == []
    refuses(client.delete(f"/v1/runs/{second}", headers=headers()), 404, "not_found")


def test_a_deletion_while_the_store_is_away_is_finished_later(
    client: TestClient,
    headers: Headers,
    submit: Submit,
    state: ServiceState,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run_id = submit()
    client.post(f"/v1/runs/{run_id}/cancel", headers=headers())

    def away(key: ArtifactKey) -> None:
        raise StoreUnavailableError("the artifact store cannot be reached")

    with monkeypatch.context() as patched:
        patched.setattr(state.store, "delete", away)
        answer = client.delete(f"/v1/runs/{run_id}", headers=headers())
    assert (answer.status_code, answer.content) == (202, b"")
    refuses(client.get(f"/v1/runs/{run_id}", headers=headers()), 404, "not_found")
    receipts = client.get("/v1/receipts", headers=headers()).json()["receipts"]
    assert [receipt["completed_at"] for receipt in receipts] == [None]
    assert finish_erasures(state.database, state.store, evict_here, timedelta(0)) > 1
    assert state.store.list_keys("anna", partial=True) == []
    receipts = client.get("/v1/receipts", headers=headers()).json()["receipts"]
    assert receipts[0]["completed_at"] is not None


def test_the_second_run_reuses_every_stage(
    executor: QuickExecutor, dispatcher: Dispatcher, submit: Submit, until: Until
) -> None:
    until(submit("one"), "succeeded")
    executed = list(executor.executed)
    run = until(submit("two"), "succeeded")
    assert {stage["state"] for stage in run["stages"]} == {"reused"}
    assert executor.executed == executed


def test_runs_are_found_by_the_beginning_of_their_keys(
    client: TestClient, headers: Headers, submit: Submit
) -> None:
    own = [submit("pets_1.a.0"), submit("pets_1.b.0")]
    submit("petsX1.a.0")
    asked = {"key_prefix": "pets_1.", "limit": 1}
    page = client.get("/v1/runs", params=asked, headers=headers()).json()
    assert [(run["id"], run["idempotency_key"]) for run in page["runs"]] == [(own[1], "pets_1.b.0")]
    more = client.get("/v1/runs", params=asked | {"after": page["next"]}, headers=headers()).json()
    assert ([run["id"] for run in more["runs"]], more["next"]) == ([own[0]], None)
    assert client.get("/v1/runs", params=asked, headers=headers("bert")).json()["runs"] == []


def test_a_listener_is_let_go_when_the_run_is_deleted(
    client: TestClient, headers: Headers, submit: Submit
) -> None:
    run_id = submit()
    timer = threading.Timer(
        0.5, lambda: client.delete(f"/v1/runs/{run_id}", headers=headers()).raise_for_status()
    )
    timer.start()
    assert [event.event for event in events(client, run_id, headers())] == ["state"]
    timer.join()
