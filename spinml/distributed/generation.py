"""DRAW and GENERATE on Ray Data (§3.3): a pool of actors makes shards, each stored at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import ray

from spinml.config import ServerConfig
from spinml.distributed.board import BoardProgress, Standing
from spinml.distributed.failures import raised_on_purpose
from spinml.distributed.operations import load
from spinml.distributed.resources import actor_options, settle_process
from spinml.logs import configure
from spinml.pipeline.execution import StageTask, Workplace
from spinml.pipeline.scratch import scratch
from spinml.pipeline.stages import Progress, Stage
from spinml.synthesis.shards import plan_shards

MAX_RESTARTS = 2
"""How often Ray Data starts an actor again that died; the stage is retried beyond that."""


@dataclass(frozen=True)
class Shard:
    """One file: its name, and how many rows it will hold at most."""

    name: str
    rows: int


class ShardSource(Protocol):
    """What makes shards. Made once in each actor, where it loads its models."""

    unit: ClassVar[str]
    """What a row is, for people: "images"."""

    def __init__(self, config: ServerConfig, stage: Stage, inputs: Mapping[str, Path]) -> None: ...

    @staticmethod
    def plan(params: Mapping[str, Any]) -> Sequence[Shard]:
        """All shards, fixed by the stage's parameters."""
        ...

    def draw(self, index: int, path: Path, progress: Progress) -> None:
        """Write shard ``index`` to ``path``; ``progress`` counts its rows."""
        ...

    @staticmethod
    def finish(folder: Path, stage: Stage) -> dict[str, Any]:
        """Write what stands beside the shards in ``folder``; return the artifact's figures."""
        ...


class _ParquetShards:
    """A ShardSource of Parquet files, one for each of the stage's shards."""

    unit: ClassVar[str]
    maker: ClassVar[str]
    """Import path of what makes the tables: ``load(config, stage, inputs)``, ``make_shard``."""
    finisher: ClassVar[str]
    """Import path of what :meth:`finish` calls."""

    def __init__(self, config: ServerConfig, stage: Stage, inputs: Mapping[str, Path]) -> None:
        self._maker = load(self.maker).load(config, stage, inputs)
        self._specs = plan_shards(stage.params)

    @staticmethod
    def plan(params: Mapping[str, Any]) -> list[Shard]:
        return [Shard(spec.file_name, len(spec.images)) for spec in plan_shards(params)]

    def draw(self, index: int, path: Path, progress: Progress) -> None:
        from spinml.synthesis.dataset import write_shard

        spec = self._specs[index]
        write_shard(self._maker.make_shard(spec, progress), path)
        progress(len(spec.images), len(spec.images), self.unit)

    @classmethod
    def finish(cls, folder: Path, stage: Stage) -> dict[str, Any]:
        figures: dict[str, Any] = load(cls.finisher)(folder, stage)
        return figures


class ObjectShards(_ParquetShards):
    """The ShardSource of DRAW."""

    unit = "objects"
    maker = "spinml.synthesis.draw:Drawer"
    finisher = "spinml.synthesis.draw:finish_objects"


class SyntheticShards(_ParquetShards):
    """The ShardSource of GENERATE."""

    unit = "images"
    maker = "spinml.synthesis.generate:Generator"
    finisher = "spinml.synthesis.card:finish_dataset"


class ShardActor:
    """A callable class for ``map_batches``: draws the shards it gets and stores each at once."""

    def __init__(
        self, task: StageTask, workplace: Workplace, source: str, progress: BoardProgress
    ) -> None:
        progress.begin()
        settle_process(workplace.config.resources.generation)
        configure(workplace.config.logs.level, workplace.config.logs.format)
        self._task, self._workplace, self._progress = task, workplace, progress
        inputs = workplace.fetch_inputs(task)
        self._source: ShardSource = load(source)(workplace.config, task.stage, inputs)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        for index, name in zip(batch["index"], batch["name"], strict=True):
            with scratch("shard") as folder:
                path = folder / str(name)
                self._source.draw(int(index), path, self._progress.for_part(str(name)))
                self._workplace.store.put_file(self._task.key, str(name), path)
        return {"name": batch["name"]}


def generate(task: StageTask, workplace: Workplace, source: str, progress: BoardProgress) -> None:
    """Make the shards that are not in the store yet, then make the artifact visible.

    Runs in a coordinator without CPUs. After a crash at most the shards that were being drawn are
    drawn again, one for each actor.

    Args:
        source: import path of a :class:`ShardSource`.

    Raises:
        GenerationError: too many objects of a shard stay broken.
        StageCancelledError: the run was cancelled.
    """
    started = time.monotonic()
    kind = cast(type[ShardSource], load(source))
    shards = kind.plan(task.stage.params)
    present = set(workplace.store.list_files(task.key))
    kept = sum(shard.rows for shard in shards if shard.name in present)
    progress.expect(Standing(kept, sum(shard.rows for shard in shards), kind.unit))
    todo = [
        {"index": index, "name": shard.name}
        for index, shard in enumerate(shards)
        if shard.name not in present
    ]
    if todo:
        _draw_all(todo, task, workplace, source, progress)
    else:
        progress.begin()
    _finish(task, workplace, kind, len(shards) - len(todo), started)


def _draw_all(
    todo: list[dict[str, Any]],
    task: StageTask,
    workplace: Workplace,
    source: str,
    progress: BoardProgress,
) -> None:
    """Draw the shards of ``todo`` on the actor pool; returns when all are stored."""
    resources = workplace.config.resources
    _quiet()
    dataset = ray.data.from_items(todo, override_num_blocks=len(todo)).map_batches(
        ShardActor,
        fn_constructor_args=(task, workplace, source, progress),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=min(resources.generation_actors, len(todo)), max_tasks_in_flight_per_actor=1
        ),
        max_restarts=MAX_RESTARTS,
        max_task_retries=-1,  # restarts bound them; a lost node takes many until Ray knows of it
        **actor_options(resources.generation),
    )
    try:
        for _ in dataset.iter_batches(batch_size=None, prefetch_batches=0):
            pass
    except Exception as error:
        own = raised_on_purpose(error)
        if own is None:
            raise
        raise own from None


def _quiet() -> None:
    """No progress bars and no execution log: progress travels by the board."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.enable_auto_log_stats = False
    context.raise_original_map_exception = True


def _finish(
    task: StageTask, workplace: Workplace, kind: type[ShardSource], reused: int, started: float
) -> None:
    """Read every shard back, write the card beside them, and the manifest last."""
    store, key = workplace.store, task.key
    with scratch("dataset") as folder:
        shards = [shard.name for shard in kind.plan(task.stage.params)]
        entries = store.download(key, shards, folder)
        figures = kind.finish(folder, task.stage)
        figures |= {"shards_reused": reused, "seconds": round(time.monotonic() - started, 3)}
        beside = sorted({file.name for file in folder.iterdir()} - set(shards))
        entries += [store.put_file(key, name, folder / name) for name in beside]
        store.seal(key, entries, figures)
