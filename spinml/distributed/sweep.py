"""Trials on Ray Tune: light coordinators that all ask one host, which holds the shared executor.

The host is an actor that plays the device and runs plans; each trial is an actor without CPUs
that waits for it. So stages that several trials share are executed once, workers stay warm, and
heavy stages wait for what the cluster has (:class:`spinml.distributed.workers.WorkerPool`).
"""

from __future__ import annotations

import logging
import math
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from spinml.config import ServerConfig
from spinml.distributed.failures import raised_on_purpose
from spinml.distributed.operations import Operations
from spinml.distributed.resources import Demand, cluster_capacity, demand_of
from spinml.errors import SpinMLError, StageError
from spinml.pipeline.stages import StageKind

_TRIAL_RESOURCES = {"CPU": 0, "node:__internal_head__": 1e-4}
"""A trial waits, so it holds no CPU; Tune wants some resource, and the head's mark is free."""
_QUIET = {
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune's would end the trials as if none were left
    "RAY_AIR_NEW_OUTPUT": "0",  # the newer one prints its table to stdout, however quiet
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


@dataclass(frozen=True)
class Trials:
    """What Tune tries: the points of ``axes`` by their options' indices.

    A grid has one axis, and all of it is tried. A search proposes ``count`` points; ``known`` ones
    come first, which the host answers at once.
    """

    axes: Mapping[str, Sequence[int]]
    """Axis → its options' indices."""
    count: int | None = None
    """None: a grid."""
    objectives: Mapping[str, str] = field(default_factory=dict)
    """Figure of the host's answer → "max" or "min"; for a search."""
    known: Sequence[Mapping[str, int]] = ()
    seed: int = 0


class Host:
    """The actor that does the trials' work; it ends with this process, or at the end of a ``with``.

    It runs on this node, where the private photos' files are.

    Args:
        kind: the actor's class, and its ``args``. Its ``evaluate(point)`` is called by at most
            ``concurrent`` trials at once, and gives figures, or None for a broken trial.
    """

    def __init__(self, kind: type, *args: Any, concurrent: int) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(kind).options(
            num_cpus=0,
            max_concurrency=concurrent + 2,  # beside trials: what ``ask`` asks
            max_restarts=2,
            max_task_retries=2,
            scheduling_strategy=here,
        )
        self.concurrent = concurrent
        self.actor = actor.remote(*args)

    def ask(self, method: str, *, timeout_s: float | None = None) -> Any:
        """What the actor's ``method`` returns.

        Raises:
            SpinMLError: what the actor raised when it was made.
            StageError: the actor died, or did not answer in time.
        """
        try:
            return ray.get(getattr(self.actor, method).remote(), timeout=timeout_s)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError) as error:
            own = raised_on_purpose(error)
            if own is not None:
                raise own from None
            raise StageError(
                "the process that plays the home died or does not answer",
                remedy="look at its log and at this machine's memory; the same command goes on",
            ) from error

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        ray.kill(self.actor)


def check_feasible(
    kinds: Iterable[StageKind], config: ServerConfig, operations: Operations, *, detects: bool
) -> None:
    """Refuse a sweep whose stages would wait for ever, before anything is started.

    Of an autoscaling cluster counts what it is at its largest: at first no node may be there.

    Args:
        detects: the runs train detectors.

    Raises:
        InfeasibleResourcesError: names the stage, what it wants and the most there is.
    """
    capacity = cluster_capacity(config.resources.node_groups)
    for kind in kinds:
        capacity.check(_demand(kind, config, operations, detects), f"the stage {kind}")


def fitting(
    kinds: Iterable[StageKind], config: ServerConfig, operations: Operations, *, detects: bool
) -> int:
    """How many trials may run at once: those whose heaviest stages fit beside each other, and one
    more, which measures at home or runs light stages meanwhile. Fewer would keep an autoscaler from
    ever growing as far as it may."""
    total = cluster_capacity(config.resources.node_groups).total
    beside = [
        math.floor(total.get(name, 0.0) / amount + 1e-6)
        for kind in kinds
        for name, amount in _demand(kind, config, operations, detects).total().items()
        if name in ("CPU", "GPU")
    ]
    return max(1, min(beside, default=1)) + 1


def _demand(kind: StageKind, config: ServerConfig, operations: Operations, detects: bool) -> Demand:
    return demand_of(kind, config, plain=kind in operations.functions, detects=detects)


def run_trials(host: Host, trials: Trials, folder: Path) -> None:
    """Try all of ``trials``; returns when none is left. A trial that fails does not end the others.

    Ctrl-C ends it, by a KeyboardInterrupt.

    Args:
        host: keeps the results: what Tune writes into ``folder`` is of no further use.

    Raises:
        SpinMLError: the host died, or could not be made.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    # Tune prints every broken trial's traceback; the host has kept the error itself.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    space: dict[str, Any] = {}
    for axis, options in trials.axes.items():
        grid = trials.count is None
        space[axis] = tune.grid_search(list(options)) if grid else tune.choice(list(options))
    tuner = tune.Tuner(
        tune.with_resources(_trainable(host.actor), _TRIAL_RESOURCES),
        param_space=space,
        tune_config=tune.TuneConfig(
            num_samples=trials.count or 1,
            max_concurrent_trials=host.concurrent,
            search_alg=_search(trials),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name=f"sweep-{uuid.uuid4().hex[:8]}",
            storage_path=str(folder.resolve()),
            failure_config=tune.FailureConfig(max_failures=0, fail_fast=False),
            # By default each trial has one at its end, which its node cannot write into another's
            # ``folder``: Optuna would be told that the trial failed.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    )
    tuner.fit()
    host.ask("standings")  # alive: without it every trial would seem broken


def _search(trials: Trials) -> Any:
    """Optuna's multi-objective TPE; None for a grid."""
    if trials.count is None:
        return None
    return OptunaSearch(
        metric=list(trials.objectives),
        mode=list(trials.objectives.values()),
        points_to_evaluate=[dict(point) for point in trials.known] or None,
        seed=trials.seed,
    )


def _trainable(host: Any) -> Any:
    """A trainable with a name of its own: two runs on a cluster must not share one (ray#31330)."""

    class Trial(tune.Trainable):  # type: ignore[misc] # Ray has no types
        """Asks the host; its actor is reused for the next trial."""

        def step(self) -> dict[str, Any]:
            figures = ray.get(host.evaluate.remote(dict(self.config)))
            if figures is None:
                raise StageError("the trial is broken; the sweep's folder has its error")
            return {**figures, "done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

    Trial.__name__ = Trial.__qualname__ = f"Trial{uuid.uuid4().hex[:8]}"
    return Trial


@contextmanager
def polled(host: Host, tell: Callable[[Any], None], every_s: float = 1.0) -> Iterator[None]:
    """Meanwhile, tell the host's ``standings()`` every ``every_s``, and once at the end."""
    over = threading.Event()

    def poll() -> None:
        while not over.wait(every_s):
            with suppress(SpinMLError):  # run_trials says so at the end
                tell(host.ask("standings", timeout_s=30))

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)
    tell(host.ask("standings"))
