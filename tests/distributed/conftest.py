"""One Ray cluster of two CPUs for the tests of a module, and stores in temporary folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import ray

from spinml.config import ServerConfig
from spinml.distributed.cluster import connect
from spinml.distributed.events import StageEvent, StageState
from spinml.distributed.executor import Executor
from spinml.distributed.operations import Operations
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import NodeCache
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import Stage, StageKind

PLAIN = Operations(
    functions={
        kind: "tests.distributed.fakes:write"
        for kind in StageKind
        if kind not in (StageKind.GENERATE, StageKind.TRAIN)
    },
    sources={StageKind.GENERATE: "tests.distributed.fakes:TextShards"},
    trainer="tests.distributed.fakes:train_loop",
)


@pytest.fixture(scope="module")
def two_cpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    connect(num_cpus=2, num_gpus=0, object_store_bytes=200_000_000)
    yield
    ray.shutdown()


@dataclass
class Site:
    """A store, a journal of executions, and plans made of stages that write in it."""

    folder: Path
    config: ServerConfig = field(default_factory=ServerConfig)

    def __post_init__(self) -> None:
        self.journal.mkdir(parents=True, exist_ok=True)
        self.store = ArtifactStore.from_url(f"file://{self.folder}/store")
        self.cache = NodeCache(self.folder / "cache")

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    def executor(self, **options: Any) -> Executor:
        return Executor(self.config, self.store, PLAIN, cache=self.cache, **options)

    def stage(
        self, name: str, *inputs: Stage, kind: StageKind = StageKind.MERGE, **params: Any
    ) -> Stage:
        sources = {f"input{index}": stage.digest for index, stage in enumerate(inputs)}
        named = {"name": name, "journal": str(self.journal)} | params
        return Stage(kind, named, sources, label=name)

    def executed(self) -> Counter[str]:
        """How often each stage (or shard, or epoch) was executed."""
        return Counter(path.name.split(".")[0] for path in self.journal.glob("*"))


def plan_of(*stages: Stage) -> Plan:
    return Plan({stage.digest: stage for stage in stages}, {"last": stages[-1].digest})


def states(events: list[StageEvent], label: str) -> list[StageState]:
    """The states a stage went through, without repetitions."""
    found: list[StageState] = []
    for event in events:
        if event.label == label and (not found or found[-1] is not event.state):
            found.append(event.state)
    return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)
