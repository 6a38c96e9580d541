"""How a cluster grew and shrank under a sweep: what was seen of it, as data."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from spinml.pipeline.stages import StageKind


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Execution(_Part):
    """One stage at work on one node, or the part of it that was: a shard."""

    digest: str
    kind: StageKind
    label: str
    part: str = ""
    """The shard; empty of a stage that is executed as a whole."""
    node: str
    """Ray's id of the node."""
    began_s: float
    ended_s: float | None = None
    """None: it never ended, for its process or node was lost."""


class Sample(_Part):
    """The cluster at one time."""

    at_s: float
    nodes: tuple[str, ...]
    """Ray's ids of those with a GPU that are there."""
    gpus: float
    gpus_in_use: float
    under_way: int
    """Stages that are executed, a stage in several parts counted once."""


class Timeline(_Part):
    """A sweep on a growing cluster. Seconds count from the beginning of the observation."""

    samples: tuple[Sample, ...]
    executions: tuple[Execution, ...]
    began_s: float
    """When the sweep began."""
    ended_s: float
    emptied_s: float | None
    """When the nodes that it had added were gone; None: not while somebody watched."""
    trials: int
    failed: int

    @property
    def nodes(self) -> list[str]:
        """Every node with a GPU that was there, in the order of their coming."""
        seen = dict.fromkeys(node for sample in self.samples for node in sample.nodes)
        return list(seen)

    @property
    def most_nodes(self) -> int:
        return max((len(sample.nodes) for sample in self.samples), default=0)

    def executed_again(self) -> list[Execution]:
        """Executions beyond the first of the same stage and part."""
        seen: set[tuple[str, str]] = set()
        again = []
        for one in self.executions:
            if (one.digest, one.part) in seen:
                again.append(one)
            seen.add((one.digest, one.part))
        return again

    def figures(self) -> dict[str, Any]:
        """What a reader wants first; JSON-able."""
        end = max((s.at_s for s in self.samples), default=0.0)
        held = _integral(self.samples, [s.gpus for s in self.samples])
        used = _integral(self.samples, [s.gpus_in_use for s in self.samples])
        first = next((s.at_s for s in self.samples if s.nodes), None)
        return {
            "trials": self.trials,
            "failed": self.failed,
            "stages": len({one.digest for one in self.executions}),
            "executed_again": len({one.digest for one in self.executed_again()}),
            "nodes_before": len(self.samples[0].nodes) if self.samples else 0,
            "most_nodes": self.most_nodes,
            "most_gpus_in_use": max((s.gpus_in_use for s in self.samples), default=0.0),
            "most_stages_at_once": max((s.under_way for s in self.samples), default=0),
            "nodes_that_worked": len({one.node for one in self.executions} & set(self.nodes)),
            "first_node_after_s": None if first is None else round(first - self.began_s, 1),
            "sweep_s": round(self.ended_s - self.began_s, 1),
            "empty_after_s": (
                None if self.emptied_s is None else round(self.emptied_s - self.ended_s, 1)
            ),
            "gpu_seconds_there": round(held, 1),
            "gpu_seconds_in_use": round(used, 1),
            "watched_s": round(end, 1),
        }

    def write(self, path: Path) -> None:
        """All of it as JSON, the figures first."""
        whole = {"figures": self.figures(), "timeline": self.model_dump(mode="json")}
        path.write_text(json.dumps(whole, indent=1) + "\n")


def _integral(samples: Iterable[Sample], values: Iterable[float]) -> float:
    """The sum over time of ``values``, each of which holds until the next sample."""
    times = [sample.at_s for sample in samples]
    kept = list(values)
    spans = zip(times, times[1:], kept, strict=False)
    return sum((after - before) * value for before, after, value in spans)
