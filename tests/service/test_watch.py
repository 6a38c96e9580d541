"""What is watched: the overview of a database, ``spinml admin top``, what metrics are set to."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from rich.console import Console
from sqlalchemy import select, update
from typer.testing import CliRunner

from spinml.distributed.caches import evict_here
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.stages import StageKind
from spinml.service import metrics
from spinml.service.admin import admin
from spinml.service.database import Database
from spinml.service.dispatcher import Dispatcher
from spinml.service.heartbeats import FRESH_S, beat, note_cluster
from spinml.service.leases import claim_run, finish_run, report_stage
from spinml.service.models import Heartbeat, Run, RunState, StageState, now
from spinml.service.overview import StageView, overview
from spinml.service.plans import plan_from_json
from spinml.service.queue import QUANTUM_S, Standing, Waiting, expected_order
from spinml.service.top import as_dict, render
from spinml.service.watch import Watch
from tests.service.executors import QuickExecutor, Report
from tests.service.submissions import submit_to
from tests.service.test_dispatcher import wait_for


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.from_url(f"file://{tmp_path}/store")


def text_of(database: Database) -> str:
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(render(overview(database)))
    return console.export_text()


def busy(database: Database, store: ArtifactStore) -> Run:
    """Anna's first run draws images; one of each tenant waits, Anna's for a minute."""
    running = submit_to(database, store, "anna", "one", gpus=lambda kind: 2.0)
    claim = claim_run(database, "me", 60)
    assert claim is not None
    assert claim.run_id == running.id
    plan = plan_from_json(claim.plan)
    (digest,) = [s.digest for s in plan if s.kind is StageKind.GENERATE]
    report = Report(digest, StageState.RUNNING, 30, 120, "images", 10.0)
    assert report_stage(database, "me", claim.run_id, report, StageState.RUNNING)
    submit_to(database, store, "anna", "two", priority=3)
    submit_to(database, store, "bert", "three")
    with database.write() as session:
        session.execute(
            update(Run)
            .where(Run.idempotency_key == "two")
            .values(created_at=now() - timedelta(minutes=1))
        )
    return running


def test_an_overview_holds_what_happens(database: Database, store: ArtifactStore) -> None:
    running = busy(database, store)
    beat(database, "me")
    note_cluster(database, "me", {"CPU": (1.5, 4), "GPU": (2, 8)})
    view = overview(database)
    anna, bert = view.tenants
    assert (anna.runs["running"], anna.runs["queued"], bert.runs["queued"]) == (1, 1, 1)
    assert set(bert.runs) == set(RunState)
    assert 60 <= (anna.oldest_queued_s or 0) < 90
    assert anna.stored_bytes > 0
    (stage,) = view.stages
    assert (stage.run, stage.kind, stage.gpus) == (running.id, "generate", 2.0)
    assert (stage.rate, stage.left_s) == (3.0, 30.0)
    assert [(q.position, q.tenant) for q in view.queue] == [(1, "bert"), (2, "anna")]
    assert view.dispatcher is not None
    assert view.dispatcher.is_alive
    assert view.dispatcher.cluster == {"CPU": (1.5, 4), "GPU": (2, 8)}


def test_runs_that_ended_within_the_hour(database: Database, store: ArtifactStore) -> None:
    run = submit_to(database, store)
    assert claim_run(database, "me", 60) is not None
    finish_run(database, "me", run.id, RunState.FAILED)
    ended = {"succeeded": 0, "failed": 1, "cancelled": 0}
    assert overview(database).ended_last_hour == ended
    later = overview(database, now() + timedelta(hours=1, seconds=1))
    assert set(later.ended_last_hour.values()) == {0}
    assert later.tenants[0].runs["failed"] == 1


def test_a_stage_that_cannot_be_foretold() -> None:
    nothing = StageView(uuid4(), "anna", "train", 0, 10, "epochs", 5.0, 0)
    unknown = StageView(uuid4(), "anna", "train", 5, 0, "epochs", 5.0, 0)
    assert (nothing.rate, nothing.left_s) == (None, None)
    assert (unknown.rate, unknown.left_s) == (1.0, None)


def test_the_expected_order_is_fair_and_weighted() -> None:
    at = now()

    def waits(tenant: str, n: int) -> list[Waiting]:
        return [Waiting(uuid4(), tenant, 0, at) for _ in range(n)]

    standings = [
        Standing("heavy", 2.0, 0.0, (), at),
        Standing("light", 1.0, 0.0, (), at + timedelta(seconds=1)),
        Standing("late", 1.0, 3 * QUANTUM_S, (), at),
    ]
    waiting = waits("heavy", 4) + waits("light", 2) + waits("late", 1)
    order = [run.tenant for run in expected_order(standings, waiting)]
    assert order == ["heavy", "light", "heavy", "heavy", "light", "heavy", "late"]


def test_a_dispatcher_says_that_it_works_until_it_stops(
    database: Database, store: ArtifactStore
) -> None:
    dispatcher = Dispatcher(database, store, QuickExecutor(store), evict_here, poll_s=0.05)
    dispatcher.start()
    first = overview(database).dispatcher
    assert first is not None
    wait_for(lambda: (now_ := overview(database).dispatcher) and now_.beat_at > first.beat_at)
    dispatcher.stop()
    assert overview(database).dispatcher is None


def test_a_dispatcher_that_was_killed_is_missed(database: Database) -> None:
    beat(database, "killed", now() - timedelta(seconds=FRESH_S + 1))
    view = overview(database)
    assert view.dispatcher is not None
    assert not view.dispatcher.is_alive
    assert "no dispatcher was heard of for 31 s" in text_of(database)
    beat(database, "another", now() + timedelta(days=2))
    with database.read() as session:  # it forgot the one that went long ago
        assert session.scalars(select(Heartbeat.owner)).all() == ["another"]


def test_top_shows_ids_and_counts_and_no_words(database: Database, store: ArtifactStore) -> None:
    assert "no dispatcher works" in text_of(database)
    running = busy(database, store)
    beat(database, "me")
    note_cluster(database, "me", {"CPU": (1.5, 4), "GPU": (2, 8)})
    shown = text_of(database)
    for part in (
        str(running.id),
        "30/120 images",
        "3.00/s",
        "30 s",
        "CPUs 1.5 of 4",
        "GPUs 2 of 8",
    ):
        assert part in shown
    both = shown + json.dumps(as_dict(overview(database)))
    for word in running.request["label_classes"] + running.request["target_objects"]:
        assert word not in both


@pytest.fixture
def config_file(tmp_path: Path, sqlite_url: str) -> Path:
    path = tmp_path / "server.yaml"
    path.write_text(yaml.safe_dump({"store": {"database": sqlite_url}}))
    return path


def test_top_once_as_json(config_file: Path) -> None:
    answer = CliRunner().invoke(admin, ["top", "--once", "--json", "--config", str(config_file)])
    assert answer.exit_code == 0, answer.output
    data = json.loads(answer.output)
    assert (data["tenants"], data["queue"], data["dispatcher"]) == ([], [], None)


@pytest.mark.parametrize("as_json", [False, True])
def test_top_looks_again_until_it_is_interrupted(
    as_json: bool, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("spinml.service.top.time.sleep", sleep)
    arguments = ["top", "--every", "0.5", "--config", str(config_file)]
    answer = CliRunner().invoke(admin, arguments + ["--json"] * as_json)
    assert answer.exit_code == 0, answer.output
    assert slept == [0.5] * 3
    if as_json:
        assert [json.loads(line)["stages"] for line in answer.output.splitlines()] == [[]] * 3
    else:
        assert "no dispatcher works" in answer.output


def test_what_a_watch_sets_and_writes_down(
    database: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_to: dict[tuple[str, ...], float] = {}

    def record(gauge: metrics.Gauge, value: float, tags: dict[str, str] | None = None) -> None:
        set_to[(gauge.info["name"], *(tags or {}).values())] = value

    monkeypatch.setattr(metrics.Gauge, "set", record)
    busy(database, store)
    beat(database, "me")
    watch = Watch(database, store, "me", lambda: {"CPU": (1.0, 2.0)})
    watch.look()
    assert set_to["spinml_runs", "anna", "running"] == 1
    assert set_to["spinml_runs", "bert", "failed"] == 0
    assert set_to["spinml_oldest_queued_seconds", "anna"] >= 60
    assert set_to["spinml_stored_bytes", "anna"] > 0
    assert set_to["spinml_dispatcher_heartbeat_timestamp_seconds",] == pytest.approx(
        time.time(), abs=30
    )
    assert set_to["spinml_database_up",] == set_to["spinml_store_up",] == 1
    view = overview(database).dispatcher
    assert view is not None
    assert view.cluster == {"CPU": (1.0, 2.0)}


def test_what_runs_count(
    database: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run, one that reuses all of it, and none of it twice when a run is adopted."""
    counted: Counter[tuple[str, ...]] = Counter()

    def inc(counter: metrics.Counter, value: float, tags: dict[str, str]) -> None:
        counted[(counter.info["name"], *tags.values())] += value  # type: ignore[assignment]

    monkeypatch.setattr(metrics.Counter, "inc", inc)
    first = submit_to(database, store, "anna", "one", gpus=lambda kind: 2.0)
    executor = QuickExecutor(store)
    executor.gate = lambda stage: stage.kind is not StageKind.TRAIN
    stopped = Dispatcher(database, store, executor, evict_here, lease_s=30, poll_s=0.05)
    stopped.start()
    wait_for(lambda: "generate" in executor.executed)
    stopped.stop()
    submit_to(database, store, "anna", "two", gpus=lambda kind: 2.0)
    adopts = Dispatcher(database, store, QuickExecutor(store), evict_here, poll_s=0.05)
    adopts.start()
    wait_for(lambda: overview(database).tenants[0].runs["succeeded"] == 2)
    adopts.stop()
    kinds = {stage.kind for stage in first.stages if stage.kind != StageKind.SEGMENT}
    assert {kind: counted["spinml_stages", kind, "done"] for kind in kinds} == dict.fromkeys(
        kinds, 1
    )
    assert {kind: counted["spinml_stages", kind, "reused"] for kind in kinds} == dict.fromkeys(
        kinds, 1
    )
    assert counted["spinml_stages", "train", "cancelled"] == 1
    assert not any(key[1] == "segment" for key in counted)
    assert counted["spinml_gpu_seconds", "anna"] == 2.0 * len(kinds)  # a second each
    assert counted["spinml_images", "anna"] == 8
    assert counted["spinml_rejected_objects", "cut_off"] == 3


def test_a_watch_tells_of_a_broken_store_and_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: dict[str, float] = {}
    monkeypatch.setattr(
        metrics.Gauge, "set", lambda gauge, value, tags=None: set_to.update({gauge._name: value})
    )
    (tmp_path / "store").write_text("a file where the folder should be")
    store = ArtifactStore.from_url(f"file://{tmp_path}/store")
    gone = Database("postgresql+psycopg://user:secret@127.0.0.1:1/none")
    Watch(gone, store, "me", dict).look()
    assert set_to == {"spinml_database_up": 0, "spinml_store_up": 0}
