"""Order, parallelism, reuse, failure, cancelling and feasibility on a real cluster of two CPUs."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from spinml.config import LogConfig, ResourceConfig, Resources, ServerConfig
from spinml.distributed.events import StageEvent, StageState
from spinml.distributed.executor import Executor
from spinml.errors import (
    ArtifactNotFoundError,
    GenerationError,
    InfeasibleResourcesError,
    StageCancelledError,
    StageError,
)
from spinml.pipeline.stages import StageKind
from tests.distributed.conftest import Site, plan_of, states

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("two_cpus")]


@pytest.fixture
def executor(site: Site) -> Iterator[Executor]:
    executor = site.executor()
    yield executor
    executor.close()


def test_runs_in_order_beside_each_other_and_reuses(site: Site, executor: Executor) -> None:
    left, right = site.stage("left", wait_s=4), site.stage("right", wait_s=4)
    last = site.stage("last", left, right)
    plan = plan_of(left, right, last)
    events: list[StageEvent] = []
    executor.run(plan, "alice", "run-1", events.append)

    manifest = site.store.read_manifest(last.key("alice"))
    assert manifest.figures["inputs"] == 2
    expected = [StageState.WAITING, StageState.RUNNING, StageState.DONE]
    assert all(states(events, name) == expected for name in ("left", "right", "last"))
    assert any(0 < event.done < 100 and event.unit == "percent" for event in events)
    notes = {
        path.name.split(".")[0]: json.loads(path.read_text()) for path in site.journal.glob("*")
    }
    assert notes["left"]["at"] < notes["right-ended"]["at"]
    assert notes["right"]["at"] < notes["left-ended"]["at"]
    assert notes["last"]["at"] > max(notes["left-ended"]["at"], notes["right-ended"]["at"])
    assert (notes["left"]["gpus"], notes["left"]["threads"]) == ("", "1")

    before = site.executed()
    events.clear()
    executor.run(plan, "alice", "run-2", events.append)
    assert site.executed() == before
    assert {event.state for event in events} == {StageState.REUSED}
    executor.run(plan, "bob", "run-3", events.append)
    assert site.executed()["last"] == 2, "another tenant's artifacts are never used"


def test_workers_log_run_and_stage(tmp_path: Path) -> None:
    site = Site(tmp_path, ServerConfig(logs=LogConfig(format="json")))
    stage = site.stage("a word of a person")
    executor = site.executor()
    executor.run(plan_of(stage), "alice", "run-logged", lambda event: None)
    executor.close()

    def logged() -> list[dict[str, str]]:
        folder = Path(ray.worker._global_node.get_logs_dir_path())
        text = "".join(path.read_text() for path in folder.glob("worker-*.err"))
        assert "a word of a person" not in text
        lines = (line for line in text.splitlines() if line.startswith('{"time"'))
        return [line for line in map(json.loads, lines) if line.get("run") == "run-logged"]

    deadline = time.monotonic() + 10
    while len(logged()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    begun, done = logged()
    assert begun["message"] == "stage merge begins"
    assert done["message"].startswith("stage merge done in ")
    assert begun["stage"] == done["stage"] == stage.digest


def test_two_runs_at_once_execute_a_shared_stage_once(site: Site, executor: Executor) -> None:
    shared = site.stage("shared", wait_s=1.0)
    plans = [plan_of(shared, site.stage(name, shared)) for name in ("one", "two")]
    runs = [
        threading.Thread(target=executor.run, args=(plan, "alice", "run", lambda event: None))
        for plan in plans
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert site.executed()["shared"] == 1
    assert all(site.store.exists(plan.result("last").key("alice")) for plan in plans)


def test_a_failure_stops_the_others_and_comes_out_as_raised(site: Site, executor: Executor) -> None:
    slow, bad = site.stage("slow", wait_s=60), site.stage("bad", wait_s=0.5, raises=True)
    plan = plan_of(slow, bad, site.stage("last", slow, bad))
    events: list[StageEvent] = []
    began = time.monotonic()
    with pytest.raises(GenerationError) as caught:
        executor.run(plan, "alice", "run", events.append)
    assert type(caught.value) is GenerationError
    assert caught.value.remedy == "draw better"
    assert caught.value.details == {"n": 4}
    assert time.monotonic() - began < 50
    assert states(events, "bad")[-1] is StageState.FAILED
    assert states(events, "slow")[-1] is StageState.FAILED
    assert site.executed() == {"slow": 1, "bad": 1}
    with pytest.raises(StageError, match="ZeroDivisionError"):
        executor.run(plan_of(site.stage("bug", divides=True)), "alice", "run", events.append)


def test_cancelling_stops_promptly_and_leaves_nothing(site: Site, executor: Executor) -> None:
    slow = site.stage("slow", wait_s=60)
    plan = plan_of(slow, site.stage("last", slow))
    cancelled = threading.Event()
    events: list[StageEvent] = []

    def on_event(event: StageEvent) -> None:
        events.append(event)
        if event.done > 0:
            cancelled.set()

    began = time.monotonic()
    with pytest.raises(StageCancelledError):
        executor.run(plan, "alice", "run", on_event, cancelled.is_set)
    assert time.monotonic() - began < 30
    assert states(events, "slow")[-1] is StageState.FAILED
    assert site.store.list_keys("alice", partial=True) == []
    executor.run(plan_of(site.stage("next")), "alice", "run", on_event)


def test_refuses_what_the_cluster_can_never_hold(site: Site) -> None:
    resources = ResourceConfig(
        light=Resources(num_cpus=64), generation=Resources(num_cpus=1), generation_actors=3
    )
    executor = Site(site.folder, ServerConfig(resources=resources)).executor()
    with pytest.raises(InfeasibleResourcesError, match=r"64 CPU.*at most 2 CPU"):
        executor.run(plan_of(site.stage("big")), "alice", "run", lambda event: None)
    dataset = site.stage("dataset", kind=StageKind.GENERATE, shards=1)
    with pytest.raises(
        InfeasibleResourcesError, match=r"3 actors of 1 CPU.*the cluster has at most 2 CPU"
    ):
        executor.run(plan_of(dataset), "alice", "run", lambda event: None)
    assert not site.executed()
    executor.close()


def test_refuses_a_run_whose_segment_is_gone(site: Site, executor: Executor) -> None:
    segment = site.stage("photos", kind=StageKind.SEGMENT)
    with pytest.raises(ArtifactNotFoundError, match="segment"):
        executor.run(
            plan_of(segment, site.stage("last", segment)), "alice", "run", lambda event: None
        )
