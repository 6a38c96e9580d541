"""A sweep of simulated stages on a cluster: does it grow as its operator thinks, and shrink again?

Everything is the product's own but the stages' work (:mod:`spinml.distributed.simulated`).
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from spinml.config import (
    FinetuneConfig,
    GenerationConfig,
    MeasureConfig,
    NodeGroup,
    ResourceConfig,
    Resources,
    ServerConfig,
    StoreConfig,
)
from spinml.distributed.journal import Watch, executions_of, journal
from spinml.distributed.simulated import OPERATIONS, PLAIN
from spinml.errors import InvalidRequestError, StageError
from spinml.evaluation import TENANT
from spinml.pipeline.artifacts import ArtifactStore
from spinml.report.scaling import Timeline
from spinml.request import Task
from spinml.sweep.spec import SweepSpec
from spinml.tradeoffs.run import run_sweep

IDLE_S = 6.0
"""How long a node of the cluster on this machine is idle before it goes."""
BEFORE_S = 3.0
"""How long the cluster is watched before the sweep begins."""


def small_config(nodes: int, gpus: int) -> ServerConfig:
    """For a cluster on this machine: stages of a few seconds, each wants a GPU or a CPU.

    Args:
        nodes: that the autoscaler may add.
        gpus: logical ones of each; every one comes with a CPU for the stages without.
    """
    one_gpu = Resources(num_cpus=0, num_gpus=1)
    return ServerConfig(
        finetune=FinetuneConfig(steps=32, class_images=0),
        generation=GenerationConfig(images_per_class=8, shard_size=16),
        resources=ResourceConfig(
            diffusion=one_gpu,
            generation=one_gpu,
            training=Resources(num_cpus=1),
            light=Resources(num_cpus=1),
            node_groups=(NodeGroup(num_cpus=gpus, num_gpus=gpus, max_nodes=nodes),),
        ),
    )


def rehearse(
    spec: SweepSpec,
    config: ServerConfig,
    *,
    tell: Callable[[str], None],
    empty_timeout_s: float,
    concurrent: int | None = None,
    plain: bool = False,
) -> Timeline:
    """Run ``spec`` with simulated stages on the connected cluster, and watch its nodes.

    What the stages write lies in a store of its own beside that of ``config``, and is erased at
    the end.

    Args:
        config: ``resources`` count as in earnest, and what the stages' duration follows from:
            steps of fine-tuning, images, epochs.
        tell: told what happens, in a line.
        empty_timeout_s: how long to wait after the sweep for the nodes that it added to go.
        concurrent: see :func:`spinml.tradeoffs.run.run_sweep`.
        plain: leave Ray Data and Ray Train out: a stage is one worker's.

    Raises:
        InvalidRequestError: a detection, whose model has no stand-in.
        StageError: no trial was finished.
        SpinMLError: see :func:`spinml.tradeoffs.run.run_sweep`.
    """
    if spec.base_request().task is not Task.CLASSIFICATION:
        raise InvalidRequestError(
            "only a classification can be rehearsed", remedy="rehearse with examples/sweep.yaml"
        )
    with _own_store(config) as settings, journal() as notes, _folder() as out:
        watch = Watch(notes)
        time.sleep(BEFORE_S)
        began_s = watch.samples[-1].at_s
        tell(f"{len(watch.samples[-1].nodes)} GPU nodes; the sweep begins")
        operations = PLAIN if plain else OPERATIONS
        result = run_sweep(spec, settings, out, operations=operations, concurrent=concurrent)
        ended_s = watch.samples[-1].at_s
        tell(f"the sweep ended after {ended_s - began_s:.0f} s; waiting for the nodes to go")
        emptied_s = watch.wait_until_as_before(empty_timeout_s)
        time.sleep(BEFORE_S)
        watch.stop()
        executions = executions_of(notes)
    if not result.rows:
        raise StageError(
            "no trial of the rehearsal was finished",
            remedy=f"the first failed with: {result.failed[0].error['message']}",
        )
    return Timeline(
        samples=watch.samples,
        executions=tuple(executions),
        began_s=began_s,
        ended_s=ended_s,
        emptied_s=emptied_s,
        trials=len(result.rows),
        failed=len(result.failed),
    )


@contextmanager
def _own_store(config: ServerConfig) -> Iterator[ServerConfig]:
    """``config`` with a store that real runs never look into."""
    place = f"{config.store.artifacts.rstrip('/')}-rehearsal/{uuid.uuid4().hex[:8]}"
    store = StoreConfig(artifacts=place, s3_endpoint=config.store.s3_endpoint)
    try:
        yield config.model_copy(update={"store": store, "measure": MeasureConfig()})
    finally:
        ArtifactStore.from_url(place, config.store.s3_endpoint).delete_tenant(TENANT)


@contextmanager
def _folder() -> Iterator[Path]:
    """For the sweep's results, which mean nothing."""
    with tempfile.TemporaryDirectory(prefix="spinml-rehearsal-") as name:
        yield Path(name)
