"""Death in the middle of a stage: of a worker, of the driver, and with it of the whole of Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ray

from spinml.distributed.events import StageEvent, StageState
from spinml.distributed.generation import MAX_RESTARTS
from spinml.errors import StageError
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import StageKind
from spinml.service.leases import LeaseLostError
from tests.distributed.conftest import Site, plan_of, states

pytestmark = pytest.mark.ray

DRIVER = """
import sys
from pathlib import Path
import ray
from spinml.distributed.cluster import connect
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import StageKind
from spinml.service.leases import LeaseLostError
from tests.distributed.conftest import Site
from tests.distributed.test_kill import dataset_plan

site = Site(Path(sys.argv[1]))
connect(num_cpus=2, num_gpus=0, object_store_bytes=200_000_000)
executor = site.executor()
executor.run(dataset_plan(site), "alice", "run", lambda event: None)
executor.close()
ray.shutdown()
"""
SHARDS = 6


def dataset_plan(site: Site):  # type: ignore[no-untyped-def]
    tuned = site.stage("tuned")
    dataset = site.stage("dataset", tuned, kind=StageKind.GENERATE, shards=SHARDS, wait_s=1.0)
    return plan_of(tuned, dataset)


def wait_for(what: Callable[[], object], timeout_s: float = 90) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.1)


@pytest.mark.usefixtures("two_cpus")
def test_a_killed_worker_costs_its_stage_alone(site: Site) -> None:
    first, slow = site.stage("first"), site.stage("slow", wait_s=4)
    middle = site.stage("middle", first, slow)
    events: list[StageEvent] = []
    executor = site.executor()
    run = threading.Thread(
        target=executor.run, args=(plan_of(first, slow, middle), "alice", "run", events.append)
    )
    run.start()
    wait_for(lambda: list(site.journal.glob("slow.*")))
    note = next(site.journal.glob("slow.*"))
    os.kill(json.loads(note.read_text())["pid"], signal.SIGKILL)
    run.join(90)
    assert not run.is_alive()
    assert site.store.exists(middle.key("alice"))
    executed = site.executed()
    assert (executed["first"], executed["slow"], executed["middle"]) == (1, 2, 1)
    assert states(events, "slow") == [
        StageState.WAITING,
        StageState.RUNNING,
        StageState.WAITING,
        StageState.RUNNING,
        StageState.DONE,
    ]
    executor.close()


@pytest.mark.usefixtures("two_cpus")
def test_a_killed_board_ends_no_stage(site: Site) -> None:
    slow = site.stage("slow", wait_s=5)
    executor = site.executor()
    run = threading.Thread(
        target=executor.run, args=(plan_of(slow), "alice", "run", lambda event: None)
    )
    run.start()
    wait_for(lambda: list(site.journal.glob("slow.*")))
    ray.kill(executor.board, no_restart=False)
    run.join(90)
    assert site.store.exists(slow.key("alice"))
    assert site.executed()["slow"] == 1
    executor.close()


@pytest.mark.usefixtures("two_cpus")
def test_a_lost_lease_leaves_nothing_held(site: Site) -> None:
    """Two stages run, and nobody may be told of their end: others can still have what they held."""
    one, two = site.stage("one", wait_s=30), site.stage("two", wait_s=30)
    executor, running = site.executor(grace_s=0.5), []

    def refuse(event: StageEvent) -> None:
        if event.state is StageState.RUNNING:
            running.append(event.digest)
        if event.state is StageState.FAILED:
            raise LeaseLostError

    def lost() -> bool:
        return len(set(running)) == 2

    plan = Plan({stage.digest: stage for stage in (one, two)}, {"last": two.digest})
    with pytest.raises(LeaseLostError):
        executor.run(plan, "alice", "run", refuse, lost)
    assert executor.claims.take(one.key("alice"))
    assert executor.claims.take(two.key("alice"))
    assert executor.pool.acquire(executor.demand(one)) is not None
    assert executor.pool.acquire(executor.demand(two)) is not None
    executor.close()
    ray.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("two_cpus")
def test_a_shard_that_kills_every_worker_fails_its_run(site: Site) -> None:
    dataset = site.stage("dataset", kind=StageKind.GENERATE, shards=1, wait_s=0, kills=True)
    executor = site.executor()
    with pytest.raises(StageError, match="ActorDiedError"):
        executor.run(plan_of(dataset), "alice", "run", lambda event: None)
    attempts, restarts = 1 + 2, 1 + MAX_RESTARTS
    assert site.executed()["begun-shard-0"] == attempts * restarts
    executor.close()
    ray.shutdown()


def test_a_killed_driver_and_ray_cost_at_most_one_shard(site: Site) -> None:
    assert not ray.is_initialized()
    command = [sys.executable, "-c", DRIVER, str(site.folder)]
    root = Path(__file__).parents[2]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    with subprocess.Popen(command, cwd=root, env=environment) as driver:
        wait_for(lambda: len(list(site.journal.glob("shard-*"))) >= 2)
        driver.kill()
    time.sleep(2)
    finished = len(list(site.journal.glob("shard-*")))
    assert 2 <= finished < SHARDS
    stage = dataset_plan(site).result("last")
    assert not site.store.exists(stage.key("alice")), "invisible until it is complete"

    subprocess.run(command, cwd=root, env=environment, check=True, timeout=150)
    executed = site.executed()
    assert executed["tuned"] == 1
    counts = [executed[f"shard-{index}"] for index in range(SHARDS)]
    assert min(counts) == 1
    assert sum(counts) <= SHARDS + 1
    assert site.store.read_manifest(stage.key("alice")).figures["shards_reused"] >= finished - 1
