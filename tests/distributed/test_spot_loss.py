"""A GPU node that goes in the middle of a stage: its raylet is killed, and nobody is told before.

The cluster is Ray's own of several raylets on this machine; the head has no GPU, and no stage's
worker but the coordinators, which hold nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from spinml.config import ResourceConfig, Resources, ServerConfig
from spinml.distributed.cluster import connect
from spinml.errors import StageCancelledError
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import StageKind
from tests.distributed.conftest import Site, plan_of
from tests.distributed.test_kill import wait_for

pytestmark = pytest.mark.ray

GPU = Resources(num_cpus=0, num_gpus=1)
STORE_BYTES = 80_000_000


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without resources and two nodes with a GPU each."""
    cluster = Cluster()
    cluster.add_node(num_cpus=0, num_gpus=0, object_store_memory=STORE_BYTES)
    connect(cluster.address)  # now, so that this process belongs to the head
    for _ in range(2):
        add_gpu_node(cluster)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def add_gpu_node(cluster: Cluster) -> None:
    cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE_BYTES)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    light = Resources(num_cpus=1)
    resources = ResourceConfig(
        diffusion=GPU, generation=GPU, generation_actors=2, training=light, light=light
    )
    return Site(tmp_path, ServerConfig(resources=resources))


def notes(site: Site, name: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in site.journal.glob(f"{name}.*")]


@contextmanager
def run_beside(site: Site, plan: Plan) -> Iterator[threading.Thread]:
    """The run, in a thread; its executor ends with it, and it ends with the block."""
    stopped = threading.Event()

    def run() -> None:
        executor = site.executor()
        with suppress(StageCancelledError):
            executor.run(plan, "alice", "run", lambda event: None, stopped.is_set)
        executor.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        stopped.set()
        thread.join(60)


def lose(cluster: Cluster, node: str) -> None:
    """The node's processes are killed at once, and another node comes for it."""
    (lost,) = [each for each in cluster.worker_nodes if each.node_id == node]
    cluster.remove_node(lost, allow_graceful=False)
    add_gpu_node(cluster)


@pytest.mark.timeout(300)
def test_a_lost_node_costs_the_stage_that_ran_there_alone(cluster: Cluster, site: Site) -> None:
    first = site.stage("first")
    tuned = [site.stage(f"tune-{at}", first, kind=StageKind.FINETUNE, wait_s=8) for at in range(2)]
    last = site.stage("last", *tuned)
    with run_beside(site, plan_of(first, *tuned, last)) as run:
        wait_for(lambda: all(notes(site, f"tune-{at}") for at in range(2)))
        (lost,), (kept,) = notes(site, "tune-0"), notes(site, "tune-1")
        assert lost["node"] != kept["node"]
        lose(cluster, lost["node"])
        run.join(200)
        assert not run.is_alive()
    assert site.store.exists(last.key("alice"))
    executed = site.executed()
    assert [executed[name] for name in ("first", "tune-0", "tune-1", "last")] == [1, 2, 1, 1]
    assert lost["node"] not in {note["node"] for note in notes(site, "tune-0-ended")}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_lost_node_costs_a_dataset_the_shard_that_was_drawn_there(
    cluster: Cluster, site: Site
) -> None:
    count = 8
    dataset = site.stage("dataset", kind=StageKind.GENERATE, shards=count, wait_s=4)
    last = site.stage("last", dataset)
    begun = "begun-shard-*"
    with run_beside(site, plan_of(dataset, last)) as run:
        wait_for(lambda: len({note["node"] for note in notes(site, begun)}) == 2, timeout_s=200)
        lose(cluster, notes(site, begun)[0]["node"])
        run.join(400)
        assert not run.is_alive()
    assert site.store.exists(last.key("alice"))
    executed = site.executed()
    ended = [executed[f"shard-{index}"] for index in range(count)]
    again = [executed[f"begun-shard-{index}"] - 1 for index in range(count)]
    assert ended == [1] * count, "each was finished once"
    assert sum(again) <= 1, "one actor was on the node"
    assert executed["last"] == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_lost_node_costs_a_training_its_epochs(cluster: Cluster, site: Site) -> None:
    dataset = site.stage("dataset")
    model = site.stage("model", dataset, kind=StageKind.TRAIN, epochs=4, wait_s=2)
    last = site.stage("last", model)
    with run_beside(site, plan_of(dataset, model, last)) as run:
        wait_for(lambda: notes(site, "epoch-1"), timeout_s=300)
        lose(cluster, notes(site, "epoch-1")[0]["node"])
        run.join(400)
        assert not run.is_alive()
    assert site.store.exists(last.key("alice"))
    executed = site.executed()
    assert [executed[f"epoch-{epoch}"] for epoch in range(4)] == [2, 2, 1, 1]
    assert (executed["dataset"], executed["last"]) == (1, 1)
