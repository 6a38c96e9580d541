"""Stage workers: actors pinned to the resources of a kind of stage, warm between stages."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray

from spinml.config import Resources
from spinml.distributed.board import BoardProgress
from spinml.distributed.operations import Operations
from spinml.distributed.resources import (
    Amounts,
    Demand,
    actor_options,
    add,
    amounts,
    fits,
    on_this_node,
    settle_process,
)
from spinml.logs import bound, configure
from spinml.pipeline.execution import StageTask, Workplace
from spinml.pipeline.stages import StageKind

IDLE_S = 60.0
logger = logging.getLogger(__name__)


class StageWorker:
    """Executes stages one after the other in a process of its own.

    Modules, checkpoints and their caches stay loaded between stages: that is why it is kept warm.
    """

    def __init__(self, workplace: Workplace, operations: Operations, resources: Resources) -> None:
        self.workplace = workplace
        self.operations = operations
        settle_process(resources)
        log = workplace.config.logs
        configure(log.level, log.format)

    def execute(self, task: StageTask, progress: BoardProgress) -> None:
        """Execute one stage and publish its artifact.

        DRAW, GENERATE and TRAIN, which have no plain function, are coordinated from here: their
        work is done by Ray Data's and Ray Train's own actors.
        """
        with bound(run=task.run_id, stage=task.stage.digest):
            logger.info("stage %s begins", task.stage.kind)
            started = time.monotonic()
            self._execute(task, progress)
            logger.info("stage %s done in %.1f s", task.stage.kind, time.monotonic() - started)

    def _execute(self, task: StageTask, progress: BoardProgress) -> None:
        kind = task.stage.kind
        if kind in self.operations.functions:
            progress.begin()
            self.workplace.execute(task, self.operations.function(kind), progress)
        elif kind in self.operations.sources:
            from spinml.distributed.generation import generate

            generate(task, self.workplace, self.operations.sources[kind], progress)
        elif kind is StageKind.TRAIN:
            from spinml.distributed.train import train

            train(task, self.workplace, self.operations.trainer, progress)
        else:
            self.operations.function(kind)

    def pid(self) -> int:
        """The process's id, for the tests that kill it."""
        return os.getpid()


def start_worker(workplace: Workplace, operations: Operations, resources: Resources) -> Any:
    """A new StageWorker actor; it ends with the process that started it."""
    options: dict[str, Any] = actor_options(resources) | {"max_restarts": 0, "max_task_retries": 0}
    if not amounts(resources):
        options["scheduling_strategy"] = on_this_node()
    actor = ray.remote(StageWorker).options(**options)
    return actor.remote(workplace, operations, resources)


@dataclass(eq=False)
class Lease:
    """A worker in use, and all that its stage holds."""

    demand: Demand
    actor: Any
    warm: bool = False
    """It was idle before, and may have died of that, or with its node, unnoticed."""
    idle_since: float = field(default=0.0)


class WorkerPool:
    """Lends workers so that all that is lent, warm or coordinated fits the cluster.

    An idle worker that stands in the way of another stage is ended: on two cores, a warm diffusion
    worker and Ray Train's workers do not fit together, and waiting for each other would never end.
    So is one in an autoscaling cluster that stands on a node which is there: its stage need not
    wait for another, which costs money and may never come.
    Thread-safe: several runs share one pool.

    Args:
        capacity: the cluster at its largest; what fits it is lent, and waits for its node.
        present: the nodes that are there now.
    """

    def __init__(
        self,
        start: Callable[[Resources], Any],
        capacity: Callable[[], Amounts],
        present: Callable[[], Amounts],
        idle_s: float = IDLE_S,
        end: Callable[[Any], None] = ray.kill,
    ) -> None:
        self._start = start
        self._capacity = capacity
        self._present = present
        self._kill = end
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._lent: list[Lease] = []
        self._idle: list[Lease] = []
        self._closed = False

    def acquire(self, demand: Demand) -> Lease | None:
        """A warm or new worker for ``demand``; None when it does not fit beside what is lent."""
        with self._lock:
            wanted = add([*(lease.demand.total() for lease in self._lent), demand.total()])
            if not fits(wanted, self._capacity()):
                return None
            actor = self._take_warm(demand.worker)
            self._make_room(wanted)
            lease = Lease(demand, actor or self._start(demand.worker), warm=actor is not None)
            self._lent.append(lease)
            return lease

    def _take_warm(self, worker: Resources) -> Any:
        for lease in reversed(self._idle):
            if lease.demand.worker == worker:
                self._idle.remove(lease)
                return lease.actor
        return None

    def _make_room(self, wanted: Amounts) -> None:
        """End idle workers, the longest idle first, until ``wanted`` fits what is there, or none
        holds what is short."""
        room = self._present() if self._idle else {}
        while self._idle:
            held = [amounts(lease.demand.worker) for lease in self._idle]
            short = {
                name
                for name, amount in add([wanted, *held]).items()
                if not fits({name: amount}, room)
            }
            in_the_way = [
                lease for lease, has in zip(self._idle, held, strict=True) if short & set(has)
            ]
            if not in_the_way:
                return
            self._end(in_the_way[0])

    def release(self, lease: Lease, *, broken: bool = False) -> None:
        """Give a worker back; a broken one is ended."""
        with self._lock:
            self._lent.remove(lease)
            if broken or self._closed:
                self._kill(lease.actor)
                return
            lease.idle_since = time.monotonic()
            self._idle.append(lease)
        timer = threading.Timer(self._idle_s, self.reap)
        timer.daemon = True
        timer.start()

    def reap(self) -> None:
        """End workers that were idle for ``idle_s``, so that others can have the resources."""
        with self._lock:
            oldest = time.monotonic() - self._idle_s
            for lease in [lease for lease in self._idle if lease.idle_since <= oldest]:
                self._end(lease)

    def close(self) -> None:
        """End the idle workers now, and those still lent when they are given back."""
        with self._lock:
            self._closed = True
            for lease in list(self._idle):
                self._end(lease)

    def _end(self, lease: Lease) -> None:
        self._idle.remove(lease)
        self._kill(lease.actor)
