"""What stages hold of the cluster, and whether the cluster can ever give it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ray

from spinml.config import ResourceConfig, Resources, ServerConfig
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
        plain: a GENERATE or TRAIN that an ordinary function executes in one worker.
    """
    resources: ResourceConfig = config.resources
    if kind in (StageKind.EXPAND, StageKind.PRIOR, StageKind.FINETUNE):
        return Demand(resources.diffusion)
    if kind is StageKind.GENERATE:
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
    """The most a cluster can have: its nodes now, and those its autoscaler may add."""

    nodes: Sequence[Amounts]
    """The resources of each node or node type."""
    total: Amounts

    def check(self, demand: Demand, what: str) -> None:
        """Refuse a demand that would wait for ever.

        Raises:
            InfeasibleResourcesError: an actor that no node can hold, or more in all than there is.
        """
        for part in {demand.worker, *demand.children}:
            if not any(fits(amounts(part), node) for node in self.nodes):
                raise _infeasible(f"{what} wants an actor of", amounts(part), "a node", self.nodes)
        if not fits(demand.total(), self.total):
            raise _infeasible(f"{what} wants", demand.total(), "the cluster", [self.total])


def _infeasible(
    what: str, wanted: Amounts, where: str, have: Sequence[Amounts]
) -> InfeasibleResourcesError:
    has = "; ".join(sorted({_text(room) for room in have}))
    return InfeasibleResourcesError(
        f"{what} {_text(wanted)}, {where} has at most {has or 'nothing'}",
        remedy="lower resources in the server's configuration, or add nodes",
        details={"wanted": dict(wanted), "most": [dict(room) for room in have]},
    )


def _text(room: Amounts) -> str:
    parts = [f"{room.get(name, 0):g} {name}" for name in ("CPU", "GPU")]
    if "memory" in room:
        parts.append(f"{room['memory'] / 1e9:.1f} GB")
    return ", ".join(parts)


def cluster_capacity() -> Capacity:
    """The capacity of the cluster this process is connected to."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    total = add(nodes)
    scaling = ray._private.state.state.get_cluster_config()
    groups = list(scaling.node_group_configs) if scaling else []
    nodes += [dict(group.resources) for group in groups]
    # -1 or a very large count means "no limit" in an autoscaler's configuration.
    largest = add(
        {name: amount * _count(group.max_count) for name, amount in group.resources.items()}
        for group in groups
    )
    names = set(total) | set(largest)
    return Capacity(
        nodes, {name: max(total.get(name, 0.0), largest.get(name, 0.0)) for name in names}
    )


def _count(max_count: int) -> float:
    return float("inf") if max_count < 0 else float(max_count)


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

    Ray leaves every GPU visible to an actor with ``num_gpus=0`` (ray#62492).
    """
    threads = max(1, int(resources.num_cpus))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if resources.num_gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
