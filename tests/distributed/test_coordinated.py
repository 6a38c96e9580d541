"""GENERATE on Ray Data and TRAIN on Ray Train, on two CPUs, after a warm worker that holds both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spinml.config import ResourceConfig, Resources, ServerConfig
from spinml.distributed.events import StageEvent
from spinml.distributed.executor import Executor
from spinml.errors import CheckpointError, GenerationError
from spinml.pipeline.stages import StageKind
from tests.distributed.conftest import Site, plan_of

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("two_cpus")]


@pytest.fixture
def site(site: Site) -> Site:
    """Every kind of stage wants both CPUs, as on a laptop."""
    both = Resources(num_cpus=2)
    return Site(
        site.folder,
        ServerConfig(resources=ResourceConfig(diffusion=both, generation=both, training=both)),
    )


@pytest.fixture
def executor(site: Site) -> Iterator[Executor]:
    executor = site.executor()
    yield executor
    executor.close()


def test_a_whole_run_does_not_wait_for_itself(site: Site, executor: Executor) -> None:
    tuned = site.stage("tuned", kind=StageKind.FINETUNE)
    dataset = site.stage("dataset", tuned, kind=StageKind.GENERATE, shards=3, wait_s=0.2)
    model = site.stage("model", dataset, kind=StageKind.TRAIN, epochs=3, dies_at=1)
    measure = site.stage("measure", model)
    events: list[StageEvent] = []
    executor.run(plan_of(tuned, dataset, model, measure), "alice", "run", events.append)

    shards = [f"shard-{index:05d}.txt" for index in range(3)]
    manifest = site.store.read_manifest(dataset.key("alice"))
    assert [entry.name for entry in manifest.files] == ["card.txt", *shards]
    assert (manifest.figures["shards"], manifest.figures["shards_reused"]) == (3, 0)
    counts = [event.done for event in events if event.label == "dataset" and event.unit]
    assert counts == sorted(counts)
    assert counts[-1] == 12
    executed = site.executed()
    assert [executed[f"shard-{index}"] for index in range(3)] == [1, 1, 1]
    assert [executed[f"epoch-{epoch}"] for epoch in range(3)] == [2, 2, 1], "died at 1"
    trained = site.store.read_manifest(model.key("alice"))
    assert [entry.name for entry in trained.files] == ["model.txt"]
    assert trained.figures["epochs"] == 3


def test_an_error_in_a_shard_comes_out_as_raised(site: Site, executor: Executor) -> None:
    dataset = site.stage("dataset", kind=StageKind.GENERATE, shards=2, wait_s=0.1, raises=True)
    with pytest.raises(GenerationError) as caught:
        executor.run(plan_of(dataset), "alice", "run", lambda event: None)
    assert type(caught.value) is GenerationError
    assert caught.value.remedy == "draw better"
    assert not site.store.exists(dataset.key("alice"))


def test_an_error_while_an_actor_loads_comes_out_as_raised_and_at_once(
    site: Site, executor: Executor
) -> None:
    dataset = site.stage("dataset", kind=StageKind.GENERATE, shards=1, lacks=True)
    with pytest.raises(CheckpointError) as caught:
        executor.run(plan_of(dataset), "alice", "run", lambda event: None)
    assert caught.value.remedy == "check its name"
    assert site.executed()["made"] == 1
