"""Leases, adoption and erasures, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from spinml.config import ServerConfig
from spinml.distributed.caches import evict_here
from spinml.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    ClusterLostError,
    ConfigError,
    ConflictError,
    NotFoundError,
    ServerUnavailableError,
)
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.manifest import Manifest
from spinml.pipeline.plan import Plan
from spinml.pipeline.planner import make_plan
from spinml.pipeline.stages import ArtifactKey, StageKind
from spinml.service import dispatcher as dispatcher_module
from spinml.service import runs
from spinml.service.database import Database
from spinml.service.dispatcher import Dispatcher
from spinml.service.erasure import delete_run, erase, finish_erasures
from spinml.service.leases import (
    MAX_ADOPTIONS,
    Claim,
    LeaseLostError,
    claim_run,
    finish_run,
    release_run,
    renew_leases,
    report_stage,
)
from spinml.service.ledger import Erasure
from spinml.service.models import Run, RunState, StageState, now
from spinml.service.plans import plan_from_json, plan_to_json
from spinml.service.retention import erase_orphans
from spinml.service.submit import store_segment
from spinml.service.work import OnReport
from tests.service import bundles
from tests.service.executors import QuickExecutor, Report
from tests.service.submissions import find_run, submit_to

Stop = Callable[[], bool]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.from_url(f"file://{tmp_path}/store")


def queue(database: Database, store: ArtifactStore, key: str = "one", tenant: str = "anna") -> Run:
    return submit_to(database, store, tenant, key)


def wait_for(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def state_of(database: Database, run: Run) -> str:
    found = find_run(database, run.tenant_id, run.id)
    assert found is not None
    return found.state


def test_a_plan_survives_its_json() -> None:
    bundle = bundles.bundle()
    plan = make_plan(bundle.request, bundle.segments, ServerConfig(), "checkpoint")
    back = plan_from_json(plan_to_json(plan))
    assert list(back.stages) == list(plan.stages)
    assert back.results == plan.results


def test_one_insert_of_many_wins(database: Database, store: ArtifactStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: queue(database, store), range(8)))
    assert len({run.id for run in made}) == 1


def test_each_run_is_claimed_once(database: Database, store: ArtifactStore) -> None:
    for n in range(6):
        queue(database, store, str(n))
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda n: claim_run(database, f"owner {n}", 60), range(8)))
    ids = [claim.run_id for claim in claims if claim is not None]
    assert len(ids) == len(set(ids)) == 6


def test_a_lease_that_passed_is_adopted_and_its_old_owner_refused(
    database: Database, store: ArtifactStore
) -> None:
    run = queue(database, store)
    assert claim_run(database, "first", 60) is not None
    assert claim_run(database, "second", 60) is None
    release_run(database, "first", run.id)
    claim = claim_run(database, "second", 60)
    assert claim is not None
    assert claim.adopted
    assert renew_leases(database, {run.id: "first"}, 60) == {}
    assert renew_leases(database, {run.id: "second", uuid4(): "second"}, 60) == {run.id: False}
    with pytest.raises(LeaseLostError):
        finish_run(database, "first", run.id, RunState.FAILED)
    finish_run(database, "second", run.id, RunState.SUCCEEDED)
    assert state_of(database, run) == "succeeded"


def test_a_run_that_kills_its_dispatchers_fails_in_the_end(
    database: Database, store: ArtifactStore
) -> None:
    run, at = queue(database, store), now()
    for n in range(1 + MAX_ADOPTIONS):
        at += timedelta(seconds=61)
        assert claim_run(database, f"owner {n}", 60, at) is not None
    assert claim_run(database, "last", 60, at + timedelta(seconds=61)) is None
    found = runs.get_run(database, "anna", str(run.id))
    assert (found.state, (found.error or {})["code"]) == ("failed", "stage_failed")


def test_progress_and_releases_make_the_patience_whole_again(
    database: Database, store: ArtifactStore
) -> None:
    run, at = queue(database, store), now()
    digest = next(s.digest for s in run.stages if s.kind == StageKind.FINETUNE)
    for n in range(2 * MAX_ADOPTIONS):
        at += timedelta(seconds=61)
        assert claim_run(database, f"owner {n}", 60, at) is not None
        if n == MAX_ADOPTIONS:
            done = Report(digest, StageState.DONE, 1, 1, "steps", 1.0)
            report_stage(database, f"owner {n}", run.id, done, StageState.DONE)
    for n in range(2 * MAX_ADOPTIONS):
        assert claim_run(database, f"stops {n}", 60, at + timedelta(seconds=61)) is not None
        release_run(database, f"stops {n}", run.id)
        at = now()


def test_a_plan_that_cannot_be_read_fails_its_run_and_no_other(
    database: Database, store: ArtifactStore
) -> None:
    broken, whole = queue(database, store, "broken"), queue(database, store, "whole")
    with database.write() as session:
        session.get_one(Run, broken.id).plan = {"of": "another version"}
    dispatcher = Dispatcher(database, store, QuickExecutor(store), evict_here, poll_s=0.05)
    dispatcher.start()
    wait_for(lambda: state_of(database, whole) == "succeeded")
    assert state_of(database, broken) == "failed"
    dispatcher.stop()


def test_work_that_was_abandoned_does_not_write_to_the_run_taken_up_again(
    database: Database, store: ArtifactStore
) -> None:
    """The same dispatcher loses a run, and adopts it while its first work is still ending."""
    run, first = queue(database, store), QuickExecutor(store)
    let_go = threading.Event()
    first.gate = lambda stage: let_go.is_set()
    reports: list[str] = []

    def execute(plan: Plan, tenant: str, run_id: str, on_event: OnReport, stop: Stop, /) -> None:
        if first.entered.is_set():
            QuickExecutor(store)(plan, tenant, run_id, on_event, stop)
            return
        try:
            first(plan, tenant, run_id, on_event, lambda: False)  # a stage that does not listen
        except LeaseLostError:
            reports.append("refused")
            raise

    dispatcher = Dispatcher(
        database, store, execute, evict_here, max_concurrent_runs=2, lease_s=30, poll_s=0.05
    )
    dispatcher.start()
    assert first.entered.wait(10)
    with database.write() as session:  # another dispatcher took it, and died at once
        row = session.get_one(Run, run.id)
        row.lease_owner, row.lease_until = "another", now() - timedelta(seconds=1)
    wait_for(lambda: state_of(database, run) == "succeeded")
    let_go.set()
    wait_for(lambda: bool(reports))
    dispatcher.stop()
    assert state_of(database, run) == "succeeded"


def test_a_cluster_that_went_away_is_not_the_runs_fault(
    database: Database, store: ArtifactStore
) -> None:
    run, executor, tries = queue(database, store), QuickExecutor(store), []

    def execute(plan: Plan, tenant: str, run_id: str, on_event: OnReport, stop: Stop, /) -> None:
        tries.append(run_id)
        if len(tries) == 1:
            raise ClusterLostError("the Ray cluster went away")
        executor(plan, tenant, run_id, on_event, stop)

    dispatcher = Dispatcher(database, store, execute, evict_here, lease_s=0.5, poll_s=0.05)
    dispatcher.start()
    wait_for(lambda: state_of(database, run) == "succeeded")
    dispatcher.stop()
    assert len(tries) == 2


def test_a_new_dispatcher_goes_on_where_a_stopped_one_was(
    database: Database, store: ArtifactStore
) -> None:
    run = queue(database, store)
    first = QuickExecutor(store)
    first.gate = lambda stage: stage.kind is not StageKind.TRAIN
    old = Dispatcher(database, store, first, evict_here, lease_s=30, poll_s=0.05)
    old.start()
    wait_for(lambda: "generate" in first.executed)
    old.stop()
    assert state_of(database, run) == "running"
    second = QuickExecutor(store)
    new = Dispatcher(database, store, second, evict_here, lease_s=30, poll_s=0.05)
    new.start()
    wait_for(lambda: state_of(database, run) == "succeeded")
    new.stop()
    assert not set(first.executed) & set(second.executed)
    found = runs.get_run(database, "anna", str(run.id))
    assert {stage.state for stage in found.stages} == {"done"}


def test_no_more_at_once_than_wanted(database: Database, store: ArtifactStore) -> None:
    for n in range(4):
        queue(database, store, str(n), tenant=("anna", "bert")[n % 2])
    at_once: list[int] = []
    running, two = threading.Semaphore(0), threading.Event()

    def execute(plan: object, tenant: str, run_id: str, on_event: object, stop: object, /) -> None:
        running.release()
        at_once.append(running._value)
        if running._value == 2:
            two.set()
        two.wait(10)  # however slow the machine is, the first two run at once
        time.sleep(0.1)
        running.acquire()

    dispatcher = Dispatcher(
        database, store, execute, evict_here, max_concurrent_runs=2, poll_s=0.02
    )
    dispatcher.start()
    wait_for(lambda: len(at_once) == 4)
    dispatcher.stop()
    assert max(at_once) == 2


def test_what_is_being_erased_is_not_counted_on(database: Database, store: ArtifactStore) -> None:
    run = queue(database, store)
    keys = delete_run(database, "anna", str(run.id))
    with pytest.raises(ServerUnavailableError):
        queue(database, store)
    assert finish_erasures(database, store, evict_here) == 0  # younger ones are another process's
    assert finish_erasures(database, store, evict_here, timedelta(0)) == len(keys)
    assert store.list_keys("anna", partial=True) == []
    queue(database, store)


def test_a_run_whose_segments_went_meanwhile_is_not_queued(
    database: Database, store: ArtifactStore
) -> None:
    bundle = bundles.bundle()
    plan = make_plan(bundle.request, bundle.segments, ServerConfig(), "checkpoint")
    submission = runs.Submission(
        "anna", "one", bundle.digest, bundle.request, plan, gpus=lambda kind: 0.0
    )

    def gone() -> list[Manifest]:
        raise ArtifactNotFoundError("erased")

    with pytest.raises(ServerUnavailableError):
        runs.insert_run(database, submission, gone)
    assert runs.list_runs(database, "anna", 10, None) == ([], False)


def test_deleting_erases_only_ones_own(database: Database, store: ArtifactStore) -> None:
    mine, theirs = queue(database, store), queue(database, store, tenant="bert")
    erase(database, store, evict_here, delete_run(database, "anna", str(mine.id)))
    assert store.list_keys("anna") == []
    assert len(store.list_keys("bert")) == 2
    assert find_run(database, "bert", theirs.id) is not None
    with database.read() as session:
        assert session.scalars(select(Erasure)).all() == []


def test_orphans_are_erased_and_held_segments_are_not(
    database: Database, store: ArtifactStore
) -> None:
    queue(database, store)
    store_segment(store, "bert", bundles.bundle().segments[0])
    assert erase_orphans(database, store, evict_here) == 1
    assert (len(store.list_keys("anna")), len(store.list_keys("bert"))) == (2, 0)


def test_another_bundle_under_the_key(database: Database, store: ArtifactStore) -> None:
    queue(database, store)
    with pytest.raises(ConflictError):
        runs.find_submission(database, "anna", "one", "another")


@pytest.mark.parametrize(
    "url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "mysql://u:secret@h/d"]
)
def test_urls_that_are_not_served(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Database(url)
    assert "secret" not in str(caught.value)


def test_a_database_that_is_away_for_a_while_loses_no_run(
    database: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, executor = queue(database, store), QuickExecutor(store, stage_s=0.1)
    away = threading.Event()
    write = Database.write

    def fails_while_away(self: Database) -> object:
        if away.is_set():
            raise OperationalError("UPDATE", {}, Exception("server closed the connection"))
        return write(self)

    monkeypatch.setattr(Database, "write", fails_while_away)
    dispatcher = Dispatcher(database, store, executor, evict_here, lease_s=30, poll_s=0.05)
    dispatcher.start()
    assert executor.entered.wait(10)
    away.set()
    time.sleep(1)
    away.clear()
    wait_for(lambda: state_of(database, run) == "succeeded")
    dispatcher.stop()


def test_what_one_look_at_the_queue_raises_does_not_end_the_dispatcher(
    database: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, failed = queue(database, store), threading.Event()

    def claim(*arguments: Any) -> Claim | None:
        if not failed.is_set():
            failed.set()
            raise NotFoundError("no such tenant")
        return claim_run(*arguments)

    monkeypatch.setattr(dispatcher_module, "claim_run", claim)
    dispatcher = Dispatcher(database, store, QuickExecutor(store), evict_here, poll_s=0.05)
    dispatcher.start()
    wait_for(lambda: state_of(database, run) == "succeeded")
    dispatcher.stop()
    assert failed.is_set()


def test_an_erasure_that_fails_does_not_keep_the_policy_from_others(
    database: Database, store: ArtifactStore
) -> None:
    """As of a node that does not answer: what it holds of anna's stays noted."""
    delete_run(database, "anna", str(queue(database, store).id))
    with database.write() as session:
        session.execute(update(Erasure).values(created_at=now() - timedelta(hours=1)))
    run = queue(database, store, tenant="bert")
    runs.request_cancel(database, "bert", str(run.id))

    def evict(keys: Sequence[ArtifactKey]) -> None:
        if "anna" in {key.tenant for key in keys}:
            raise ArtifactError("a node's cache of artifacts could not be erased")

    dispatcher = Dispatcher(database, store, QuickExecutor(store), evict, poll_s=0.05)
    dispatcher.start()
    wait_for(lambda: store.list_keys("bert", partial=True) == [])
    dispatcher.stop()
    with database.read() as session:
        assert set(session.scalars(select(Erasure.tenant_id))) == {"anna"}


def test_sqlite_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Database("sqlite:///~/data/spinml.db").create()
    assert (tmp_path / "data" / "spinml.db").exists()


def test_a_database_that_is_not_there() -> None:
    database = Database("postgresql+psycopg://user:secret@127.0.0.1:1/none")
    with pytest.raises(ServerUnavailableError) as caught:
        database.create()
    assert "secret" not in str(caught.value)
