"""The pool and the resource sums, without a cluster."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from itertools import count
from unittest.mock import MagicMock

import pytest
from ray import exceptions as ray_errors

from spinml.config import NodeGroup, ResourceConfig, Resources, ServerConfig, TrainingConfig
from spinml.distributed.events import StageState, stage_event
from spinml.distributed.failures import raised_on_purpose, stage_error, worker_died
from spinml.distributed.operations import Operations, load
from spinml.distributed.resources import (
    COORDINATOR,
    Capacity,
    Demand,
    cluster_capacity,
    demand_of,
)
from spinml.distributed.run import Attempt, Run
from spinml.distributed.sweep import check_feasible, fitting
from spinml.distributed.workers import WorkerPool
from spinml.errors import (
    CheckpointError,
    GenerationError,
    InfeasibleResourcesError,
    StageError,
)
from spinml.pipeline.stages import Stage, StageKind
from tests.distributed.conftest import plan_of

BOTH = Resources(num_cpus=2)


def test_a_coordinator_holds_what_its_actors_hold() -> None:
    config = ServerConfig(
        resources=ResourceConfig(
            generation=Resources(num_cpus=4, num_gpus=1, memory_gb=8), generation_actors=3
        ),
        training=TrainingConfig(num_workers=2),
    )
    generation = demand_of(StageKind.GENERATE, config)
    assert generation.worker == COORDINATOR
    assert generation.total() == {"CPU": 12, "GPU": 3, "memory": 24e9}
    assert demand_of(StageKind.TRAIN, config).total() == {"CPU": 4}
    assert demand_of(StageKind.TRAIN, config, plain=True).total() == {"CPU": 2}
    assert demand_of(StageKind.TRAIN, config, detects=True).total() == {"CPU": 2}


def test_an_actor_must_fit_one_node() -> None:
    capacity = Capacity([{"CPU": 8.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 1.0}])
    capacity.check(Demand(COORDINATOR, (Resources(num_gpus=1),) * 2), "this")
    with pytest.raises(InfeasibleResourcesError, match="a node has at most 8 CPU, 1 GPU") as caught:
        capacity.check(Demand(Resources(num_gpus=2)), "this")
    assert pickle.loads(pickle.dumps(caught.value)).details["wanted"] == {"CPU": 1, "GPU": 2}
    with pytest.raises(InfeasibleResourcesError, match="the cluster has at most 2 x 8 CPU"):
        capacity.check(Demand(COORDINATOR, (Resources(num_gpus=1),) * 3), "this")


def test_actors_that_fit_in_sum_but_not_between_the_nodes_are_refused() -> None:
    capacity = Capacity([{"CPU": 8.0}, {"CPU": 8.0}])
    wide = Resources(num_cpus=5)
    capacity.check(Demand(COORDINATOR, (wide,) * 2), "this")
    with pytest.raises(InfeasibleResourcesError, match="wants 3 actors of 5 CPU"):
        capacity.check(Demand(COORDINATOR, (wide,) * 3), "this")


def test_an_autoscaler_is_counted_at_its_largest_though_no_node_is_there() -> None:
    config = ServerConfig.model_validate(
        {
            "preset": "sd15",
            "resources": {
                "generation_actors": 3,
                "node_groups": [{"num_cpus": 7, "num_gpus": 1, "max_nodes": 3}],
            },
        }
    )
    capacity = cluster_capacity(config.resources.node_groups)
    assert capacity.total == {"CPU": 21, "GPU": 3}
    capacity.check(demand_of(StageKind.GENERATE, config), "the stage generate")
    more = config.resources.model_copy(update={"generation_actors": 4})
    wanted = demand_of(StageKind.GENERATE, config.model_copy(update={"resources": more}))
    with pytest.raises(InfeasibleResourcesError, match="3 x 7 CPU, 1 GPU") as caught:
        capacity.check(wanted, "the stage generate")
    assert "resources.node_groups" in caught.value.remedy


def test_a_sweep_counts_nodes_that_are_not_there_yet() -> None:
    """Without a cluster at all: nothing of it is asked."""
    gpu = Resources(num_cpus=0, num_gpus=1)
    group = NodeGroup(num_cpus=2, num_gpus=2, max_nodes=3)
    resources = ResourceConfig(
        diffusion=gpu, generation=gpu, training=Resources(), node_groups=(group,)
    )
    config, operations = ServerConfig(resources=resources), Operations()
    kinds = [StageKind.FINETUNE, StageKind.GENERATE, StageKind.TRAIN]
    check_feasible(kinds, config, operations, detects=False)
    assert fitting(kinds, config, operations, detects=False) == 6 + 1
    larger = resources.model_copy(update={"diffusion": Resources(num_gpus=4)})
    with pytest.raises(InfeasibleResourcesError, match="a node has at most 2 CPU, 2 GPU"):
        check_feasible(
            kinds, config.model_copy(update={"resources": larger}), operations, detects=False
        )


def test_a_detection_sweep_counts_one_training_worker_as_its_runs_do() -> None:
    resources = ResourceConfig(
        training=Resources(num_cpus=4), node_groups=(NodeGroup(num_cpus=4, max_nodes=1),)
    )
    config = ServerConfig(resources=resources, training=TrainingConfig(num_workers=2))
    kinds, operations = [StageKind.TRAIN], Operations()
    check_feasible(kinds, config, operations, detects=True)
    assert fitting(kinds, config, operations, detects=True) == 1 + 1
    with pytest.raises(InfeasibleResourcesError, match="wants 2 actors of 4 CPU"):
        check_feasible(kinds, config, operations, detects=False)


@dataclass
class Nodes:
    """A cluster that may have four GPUs, and has ``there`` now."""

    there: int
    ended: list[str] = field(default_factory=list)

    def pool(self) -> WorkerPool:
        names = (f"worker {number}" for number in count(1))
        return WorkerPool(
            start=lambda resources: next(names),
            capacity=lambda: {"CPU": 8.0, "GPU": 4.0},
            present=lambda: {"CPU": 2.0 * self.there, "GPU": float(self.there)},
            end=self.ended.append,
        )


def test_an_idle_worker_gives_way_rather_than_that_a_node_is_added() -> None:
    nodes = Nodes(there=1)
    pool = nodes.pool()
    tuning = Demand(Resources(num_cpus=0, num_gpus=1))
    drawing = Demand(COORDINATOR, (Resources(num_cpus=1, num_gpus=1),))
    light = Demand(Resources(num_cpus=1))
    for demand in (light, tuning):
        lease = pool.acquire(demand)
        assert lease is not None
        assert not lease.warm
        pool.release(lease)
    first = pool.acquire(drawing)
    assert first is not None
    assert nodes.ended == ["worker 2"], "it had the only GPU; the light one is in nobody's way"
    more = [pool.acquire(drawing) for _ in range(3)]
    assert None not in more, "they wait for nodes that the autoscaler adds"
    assert pool.acquire(drawing) is None, "more than there may ever be"
    pool.release(first)
    again = pool.acquire(drawing)
    assert again is not None
    assert again.warm
    pool.close()


def test_every_default_operation_has_a_place() -> None:
    missing = set(StageKind) - set(Operations().functions)
    assert missing == {StageKind.SEGMENT, StageKind.DRAW, StageKind.GENERATE, StageKind.TRAIN}
    with pytest.raises(StageError, match="cannot be imported"):
        load("spinml.pipeline.stages:no_such_thing")


def test_errors_are_told_from_deaths() -> None:
    own = GenerationError("broken", remedy="draw better")
    task = ray_errors.RayTaskError("f", "traceback", own)
    assert raised_on_purpose(task) is own
    assert not worker_died(task)
    died = ray_errors.RayTaskError("f", "traceback", ray_errors.ActorDiedError())
    assert worker_died(died)
    stage = Stage(StageKind.MERGE, {"words": "my dog"})
    told = stage_error(stage, ray_errors.RayTaskError("f", "traceback", ValueError("my dog")))
    assert "my dog" not in str(told)
    assert "ValueError" in str(told)


def died_when_made(own: Exception) -> ray_errors.RayTaskError:
    """What ``ray.get`` raises of a worker whose own actor raised ``own`` in its ``__init__``."""
    died = ray_errors.ActorDiedError.from_task_error(ray_errors.RayTaskError("f", "trace", own))
    arrived: ray_errors.RayTaskError = pickle.loads(
        pickle.dumps(ray_errors.RayTaskError("g", "trace", died))
    )
    return arrived


def test_what_an_actor_raised_when_it_was_made_keeps_its_code_and_remedy() -> None:
    error = died_when_made(CheckpointError("no such checkpoint", remedy="check its name"))
    told = stage_error(Stage(StageKind.DRAW, {}), error)
    assert isinstance(told, CheckpointError)
    assert told.remedy == "check its name"
    assert raised_on_purpose(died_when_made(ValueError("my dog"))) is None


@pytest.mark.parametrize("own", [CheckpointError("no such checkpoint"), ValueError()])
def test_a_stage_is_tried_again_unless_its_actor_said_why(
    own: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(StageKind.DRAW, {})
    run = Run(MagicMock(), plan_of(stage), "alice", "run", [], lambda event: None)
    run.running[stage.digest] = attempt = Attempt(stage, MagicMock(warm=False), "token", None)
    monkeypatch.setattr("ray.get", MagicMock(side_effect=died_when_made(own)))
    if isinstance(own, CheckpointError):
        with pytest.raises(CheckpointError):
            run._finish(attempt)
    else:
        run._finish(attempt)
    assert list(run.waiting.values()) == ([] if isinstance(own, CheckpointError) else [stage])


def test_an_event_carries_no_parameters() -> None:
    event = stage_event(Stage(StageKind.MERGE, {"words": "my dog"}), StageState.RUNNING)
    assert "dog" not in repr(event)
    assert event.label == "merge"
