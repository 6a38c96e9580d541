"""TRAIN on Ray Train (§3.3, §4.3): data-parallel workers, of which rank 0 stores the result."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ray import train as ray_train
from ray.train import torch as ray_torch
from ray.train.v2.api.exceptions import WorkerGroupError

from spinml.distributed.board import BoardProgress
from spinml.distributed.failures import raised_on_purpose
from spinml.distributed.operations import load
from spinml.distributed.resources import actor_options, settle_process
from spinml.pipeline.execution import StageTask, Workplace
from spinml.pipeline.manifest import FileEntry, files_below
from spinml.pipeline.stages import StageContext, silent

MAX_FAILURES = 1
"""How often Ray Train starts its workers again, from the last epoch's checkpoint."""


class TrainHooks:
    """What a training loop asks of Ray Train; the loop itself does not know Ray."""

    @property
    def rank(self) -> int:
        """This worker's number; 0 writes the result."""
        return int(ray_train.get_context().get_world_rank())

    @property
    def world_size(self) -> int:
        """How many workers train together."""
        return int(ray_train.get_context().get_world_size())

    def prepare_model(self, model: Any) -> Any:
        """``model`` on this worker's device, wrapped when there are several workers."""
        return ray_torch.prepare_model(model)

    def prepare_loader(self, loader: Any) -> Any:
        """``loader`` with this worker's share of the samples, on its device."""
        return ray_torch.prepare_data_loader(loader)

    def report(self, metrics: Mapping[str, Any], folder: Path | None = None) -> None:
        """Tell an epoch's metrics; rank 0 gives the folder to resume from. All ranks call it."""
        checkpoint = None
        if folder is not None and self.rank == 0:
            checkpoint = ray_train.Checkpoint.from_directory(folder)
        ray_train.report(dict(metrics), checkpoint=checkpoint)

    def resume_from(self) -> AbstractContextManager[Path | None]:
        """The folder that the last reported epoch gave; None at the first start."""
        checkpoint = ray_train.get_checkpoint()
        if checkpoint is None:
            return nullcontext(None)
        folder: AbstractContextManager[Path | None] = checkpoint.as_directory()
        return folder


class WorkerLoop(Protocol):
    """Trains in one worker. Rank 0 writes its result into ``context.out``; returns figures."""

    def __call__(self, context: StageContext, hooks: TrainHooks) -> dict[str, Any]: ...


@dataclass(frozen=True)
class _Job:
    """What travels to the workers."""

    task: StageTask
    workplace: Workplace
    loop: str
    progress: BoardProgress


def train(task: StageTask, workplace: Workplace, loop: str, progress: BoardProgress) -> None:
    """Train on Ray Train's workers, then make the model visible.

    Runs in a coordinator without CPUs.

    Args:
        loop: import path of a :class:`WorkerLoop`.

    Raises:
        StageCancelledError: the run was cancelled.
    """
    started = time.monotonic()
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    resources = workplace.config.resources.training
    workplace.store.delete(task.key)
    with tempfile.TemporaryDirectory(prefix="spinml-train-") as folder:
        trainer = ray_torch.TorchTrainer(
            _work,
            train_loop_config={"job": _Job(task, workplace, loop, progress)},
            torch_config=ray_torch.TorchConfig(backend="nccl" if resources.num_gpus else "gloo"),
            scaling_config=ray_train.ScalingConfig(
                num_workers=workplace.config.training.num_workers,
                use_gpu=resources.num_gpus > 0,
                resources_per_worker=_per_worker(actor_options(resources)),
            ),
            run_config=ray_train.RunConfig(
                name=task.stage.digest[:16],
                storage_path=folder,
                failure_config=ray_train.FailureConfig(max_failures=MAX_FAILURES),
                checkpoint_config=ray_train.CheckpointConfig(num_to_keep=1),
            ),
        )
        entries, figures = _fit(trainer)
    figures |= {"seconds": round(time.monotonic() - started, 3)}
    workplace.store.seal(task.key, entries, figures)


def _per_worker(options: Mapping[str, float]) -> dict[str, float]:
    """An actor's options by the names that placement groups use."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    return {names[option]: amount for option, amount in options.items() if amount > 0}


def _fit(trainer: Any) -> tuple[list[FileEntry], dict[str, Any]]:
    """What rank 0 returned; an error that a worker raised on purpose comes out as itself."""
    try:
        result = trainer.fit()
    except WorkerGroupError as error:
        for failure in error.worker_failures.values():
            own = raised_on_purpose(failure)
            if own is not None:
                raise own from None
        raise
    entries, figures = result.return_value
    return entries, figures


def _work(config: Mapping[str, Any]) -> tuple[list[FileEntry], dict[str, Any]]:
    """In each worker: run the loop; rank 0 puts the files it wrote into the store."""
    job: _Job = config["job"]
    workplace, task = job.workplace, job.task
    settle_process(workplace.config.resources.training)
    hooks = TrainHooks()
    loop: WorkerLoop = load(job.loop)
    inputs = workplace.fetch_inputs(task)
    with tempfile.TemporaryDirectory(prefix="spinml-train-") as path:
        out = Path(path)
        progress = job.progress if hooks.rank == 0 else silent
        figures = loop(StageContext(task.stage, inputs, out, workplace.config, progress), hooks)
        entries = []
        if hooks.rank == 0:
            names = files_below(out)
            entries = [workplace.store.put_file(task.key, name, out / name) for name in names]
    return entries, figures
