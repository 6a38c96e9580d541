"""What is executed where, and which nodes there are: an actor that notes, and a thread that looks.

For rehearsals (:mod:`spinml.tradeoffs.rehearsal`): real stages tell the board alone.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from spinml.distributed.resources import on_this_node
from spinml.pipeline.stages import Stage
from spinml.report.scaling import Execution, Sample

_NAME = "spinml-journal"
"""Names are a job's own: its workers find its journal, and no other's."""


class Journal:
    """An actor that keeps executions; its clock is the only one, counted from its start."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._executions: dict[str, Execution] = {}

    def now(self) -> float:
        return time.monotonic() - self._started

    def begin(self, token: str, stage: Stage, part: str, node: str) -> None:
        self._executions[token] = Execution(
            digest=stage.digest,
            kind=stage.kind,
            label=stage.label or stage.kind.value,
            part=part,
            node=node,
            began_s=self.now(),
        )

    def end(self, token: str) -> None:
        begun = self._executions[token]
        self._executions[token] = begun.model_copy(update={"ended_s": self.now()})

    def executions(self) -> list[Execution]:
        """In the order of their beginning."""
        return list(self._executions.values())

    def under_way(self, nodes: set[str]) -> int:
        """How many stages are executed now; what began on a node that is gone is not."""
        open_ones = [e for e in self._executions.values() if e.ended_s is None and e.node in nodes]
        return len({one.digest for one in open_ones})


@contextmanager
def journal() -> Iterator[ray.actor.ActorHandle]:
    """Keep a journal on this node meanwhile; one a job."""
    actor = (
        ray.remote(Journal)
        .options(name=_NAME, num_cpus=0, scheduling_strategy=on_this_node())
        .remote()
    )
    ray.get(actor.now.remote())
    try:
        yield actor
    finally:
        ray.kill(actor)


@contextmanager
def noted(stage: Stage, part: str = "") -> Iterator[None]:
    """Note the block in the job's journal as an execution on this node."""
    actor = ray.get_actor(_NAME)
    token, node = uuid.uuid4().hex, ray.get_runtime_context().get_node_id()
    ray.get(actor.begin.remote(token, stage, part, node))
    yield
    ray.get(actor.end.remote(token))


def executions_of(journal: ray.actor.ActorHandle) -> list[Execution]:
    """What a journal has noted, in the order of its beginning."""
    found: list[Execution] = ray.get(journal.executions.remote())
    return found


class Watch:
    """A thread that samples the cluster once a second between start and :meth:`stop`."""

    def __init__(self, journal: ray.actor.ActorHandle, every_s: float = 1.0) -> None:
        self._journal, self._every_s = journal, every_s
        self._samples: list[Sample] = []
        self._over = threading.Event()
        self._look()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def samples(self) -> tuple[Sample, ...]:
        return tuple(self._samples)

    def stop(self) -> None:
        """Look a last time, and end."""
        self._over.set()
        self._thread.join()
        self._look()

    def wait_until_as_before(self, timeout_s: float) -> float | None:
        """Wait until no node is there that was not at first.

        Returns:
            When that was seen; None when ``timeout_s`` passed before.
        """
        before = set(self._samples[0].nodes)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            last = self._samples[-1]
            if set(last.nodes) <= before:
                return last.at_s
            time.sleep(self._every_s / 2)
        return None

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            self._look()

    def _look(self) -> None:
        alive = [node for node in ray.nodes() if node["Alive"]]
        gpus = {n["NodeID"]: n["Resources"].get("GPU", 0.0) for n in alive}
        there = sum(gpus.values())
        free = ray.available_resources().get("GPU", 0.0)
        at_s, under_way = ray.get(
            [self._journal.now.remote(), self._journal.under_way.remote(set(gpus))]
        )
        self._samples.append(
            Sample(
                at_s=at_s,
                nodes=tuple(node for node, count in gpus.items() if count),
                gpus=there,
                gpus_in_use=max(0.0, there - free),
                under_way=under_way,
            )
        )
