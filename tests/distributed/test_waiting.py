"""A stage that has no node or no process yet waits: it is told so, and costs nothing until then."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest
import ray

from spinml.config import ResourceConfig, Resources, ServerConfig
from spinml.distributed.board import ProgressBoard, Standing
from spinml.distributed.events import StageEvent, StageState
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import StageKind
from tests.distributed.conftest import Site, plan_of, states
from tests.distributed.test_spot_loss import notes

HELD_S = 4.0

of_any_stage = pytest.mark.parametrize(
    ("kind", "params"),
    [(StageKind.MERGE, {"wait_s": 0.2}), (StageKind.GENERATE, {"shards": 1, "wait_s": 0.2})],
    ids=["plain", "coordinated"],
)


@pytest.mark.ray
@pytest.mark.usefixtures("two_cpus")
@of_any_stage
def test_waiting_for_a_node_is_not_charged(
    site: Site, kind: StageKind, params: dict[str, Any]
) -> None:
    """Somebody else has the CPUs, as if the node were still to come."""
    both = Resources(num_cpus=2)
    site = Site(site.folder, ServerConfig(resources=ResourceConfig(generation=both, light=both)))
    holder = ray.remote(Holder).options(num_cpus=2).remote()
    ray.get(holder.ready.remote())
    stage = site.stage("late", kind=kind, **params)
    events: list[StageEvent] = []
    executor = site.executor()
    run = threading.Thread(
        target=executor.run, args=(plan_of(stage), "alice", "run", events.append)
    )
    began = time.monotonic()
    run.start()
    time.sleep(HELD_S)
    assert states(events, "late") == [StageState.WAITING], "it has no worker yet"
    ray.kill(holder)
    run.join(200)
    took = time.monotonic() - began
    executor.close()
    assert states(events, "late") == [StageState.WAITING, StageState.RUNNING, StageState.DONE]
    assert 0 < events[-1].seconds <= took - HELD_S


class Holder:
    """Holds what it was given."""

    def ready(self) -> bool:
        return True


@pytest.mark.ray
@pytest.mark.usefixtures("two_cpus")
def test_workers_that_died_while_idle_cost_a_stage_none_of_its_attempts(site: Site) -> None:
    """As on a node that was lost with all its warm workers."""
    quarter = Resources(num_cpus=0.25)
    site = Site(site.folder, ServerConfig(resources=ResourceConfig(light=quarter)))
    stages = [site.stage(f"warm-{at}", wait_s=3) for at in range(3)]
    executor = site.executor()
    together = Plan({stage.digest: stage for stage in stages}, {})
    executor.run(together, "alice", "run", lambda event: None)
    workers = {note["pid"] for at in range(3) for note in notes(site, f"warm-{at}")}
    assert len(workers) == 3
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    last = site.stage("last")
    executor.run(plan_of(last), "alice", "run", lambda event: None)
    executor.close()
    assert site.executed()["last"] == 1


def test_seconds_count_from_the_first_worker_and_reports_from_what_was_kept() -> None:
    board = ProgressBoard()
    board.expect("t", Standing(4, 12, "images"))
    assert board.begun(["t"]) == {}, "a coordinator alone is no work"
    assert board.begin("t")
    time.sleep(0.05)
    board.begin("t")
    assert board.report("t", "a", Standing(2, 4, "images"))
    found = board.begun(["t", "unknown"])
    assert list(found) == ["t"]
    assert found["t"].seconds >= 0.05
    assert found["t"].standing == Standing(6, 12, "images")
    board.close("t")
    assert not board.begin("t")
    assert not board.report("t", "a", Standing(3, 4, "images"))
    assert board.begun(["t"]) == {}


def test_a_board_that_was_started_anew_knows_a_stage_by_its_next_report() -> None:
    board = ProgressBoard()
    assert board.report("t", "", Standing(1, 2, "steps"))
    assert board.begun(["t"])["t"].standing == Standing(1, 2, "steps")
