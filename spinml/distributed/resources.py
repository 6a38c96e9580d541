"""What stages hold of the cluster, and whether the cluster can ever give it."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from spinml.allocator import keep_freed_memory
from spinml.config import NodeGroup, ResourceConfig, Resources, ServerConfig
from spinml.errors import InfeasibleResourcesError
from spinml.pipeline.stages import StageKind

Amounts = Mapping[str, float]
"""Resource name as Ray has it ("CPU", "GPU", "memory" in bytes) → how much."""

COORDINATOR = Resources(num_cpus=0)
"""A coordinator waits for Ray Data or Ray Train; it computes nothing itself."""


@dataclass(frozen=True)
class Demand:
    """What executing a stage holds: one worker, and the actors that a coordinator starts."""

    worker: Resources
    children: tuple[Resources, ...] = ()

    def total(self) -> dict[str, float]:
        """All of it together."""
        return add([amounts(part) for part in (self.worker, *self.children)])


def amounts(resources: Resources) -> dict[str, float]:
    """``resources`` by Ray's names."""
    held = {"CPU": resources.num_cpus, "GPU": resources.num_gpus}
    if resources.memory_gb is not None:
        held["memory"] = resources.memory_gb * 1e9
    return {name: amount for name, amount in held.items() if amount > 0}


def add(parts: Iterable[Amounts]) -> dict[str, float]:
    """The sum of several amounts."""
    total: dict[str, float] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, 0.0) + amount
    return total


def fits(wanted: Amounts, room: Amounts) -> bool:
    """Whether ``room`` has all that is wanted (up to rounding of shares)."""
    return all(amount <= room.get(name, 0.0) + 1e-6 for name, amount in wanted.items())


def demand_of(
    kind: StageKind, config: ServerConfig, *, plain: bool = False, detects: bool = False
) -> Demand:
    """What a stage of ``kind`` holds under ``config``.

    Args:
        detects: a stage of a detection run.
        plain: a DRAW, GENERATE or TRAIN that an ordinary function executes in one worker.
    """
    resources: ResourceConfig = config.resources
    if kind in (StageKind.EXPAND, StageKind.PRIOR, StageKind.FINETUNE):
        return Demand(resources.diffusion)
    if kind in (StageKind.DRAW, StageKind.GENERATE):
        if plain:
            return Demand(resources.generation)
        return Demand(COORDINATOR, (resources.generation,) * resources.generation_actors)
    if kind is StageKind.TRAIN:
        if plain:
            return Demand(resources.training)
        return Demand(COORDINATOR, (resources.training,) * train_workers(config, detects=detects))
    return Demand(resources.light)


def train_workers(config: ServerConfig, *, detects: bool) -> int:
    """Ray Train's workers. A detector has one: ultralytics would start the others itself, outside
    of what Ray gave, and its smallest network on some thousand images needs none."""
    return 1 if detects else config.training.num_workers


@dataclass(frozen=True)
class Capacity:
    """The most a cluster can have."""

    nodes: Sequence[Amounts]
    """The resources of each node."""

    @property
    def total(self) -> dict[str, float]:
        """All nodes together."""
        return add(self.nodes)

    def check(self, demand: Demand, what: str) -> None:
        """Refuse a demand that would wait for ever.

        Raises:
            InfeasibleResourcesError: an actor that no node can hold, more actors than the nodes
                hold between them, or more in all than there is.
        """
        for part, count in Counter((demand.worker, *demand.children)).items():
            places = self._places(amounts(part))
            if places < 1:
                raise _infeasible(f"{what} wants an actor of", amounts(part), "a node", self.nodes)
            if places < count:
                raise _infeasible(
                    f"{what} wants {count} actors of", amounts(part), "the cluster", self.nodes
                )
        if not fits(demand.total(), self.total):
            raise _infeasible(f"{what} wants", demand.total(), "the cluster", [self.total])

    def _places(self, part: Amounts) -> float:
        """How many actors that hold ``part`` fit the nodes at once: each needs one node whole."""
        if not part:
            return float("inf")
        return sum(
            min(int(node.get(name, 0.0) / amount + 1e-6) for name, amount in part.items())
            for node in self.nodes
        )


def _infeasible(
    what: str, wanted: Amounts, where: str, have: Sequence[Amounts]
) -> InfeasibleResourcesError:
    kinds = Counter(_text(room) for room in have)
    several = where == "the cluster" and len(have) > 1
    has = "; ".join(f"{n} x {kind}" if several else kind for kind, n in sorted(kinds.items()))
    return InfeasibleResourcesError(
        f"{what} {_text(wanted)}, {where} has at most {has or 'nothing'}",
        remedy="lower resources in the server's configuration, or add nodes: to the cluster, and "
        "for an autoscaler to resources.node_groups",
        details={"wanted": dict(wanted), "most": dict(kinds)},
    )


def _text(room: Amounts) -> str:
    parts = [f"{room.get(name, 0):g} {name}" for name in ("CPU", "GPU")]
    if "memory" in room:
        parts.append(f"{room['memory'] / 1e9:.1f} GB")
    return ", ".join(parts)


def cluster_capacity(groups: Sequence[NodeGroup] = ()) -> Capacity:
    """The capacity of the cluster this process is connected to.

    Args:
        groups: the cluster at its largest, where an autoscaler adds nodes; empty: as it is now.
    """
    if groups:
        return Capacity([amounts(group) for group in groups for _ in range(group.max_nodes)])
    return Capacity([node["Resources"] for node in ray.nodes() if node["Alive"]])


def on_this_node() -> NodeAffinitySchedulingStrategy:
    """Where an actor without resources belongs: beside whoever started it.

    Anywhere else it would keep an autoscaler's node from being given back, or go with it.
    """
    here = ray.get_runtime_context().get_node_id()
    return NodeAffinitySchedulingStrategy(node_id=here, soft=True)


def actor_options(resources: Resources) -> dict[str, float]:
    """``resources`` as the options of a Ray actor; both counts always said, for a default holds
    a CPU for life."""
    options: dict[str, float] = {
        "num_cpus": resources.num_cpus,
        "num_gpus": resources.num_gpus,
    }
    if resources.memory_gb is not None:
        options["memory"] = int(resources.memory_gb * 1e9)
    return options


def settle_process(resources: Resources) -> None:
    """Fit this process to what its actor holds: threads as CPUs, and no GPU it was not given.

    Freed memory stays with it for its next step. Ray leaves every GPU visible to an actor with
    ``num_gpus=0`` (ray#62492).
    """
    keep_freed_memory()
    threads = max(1, int(resources.num_cpus))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if resources.num_gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
