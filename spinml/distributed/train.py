"""TRAIN on Ray Train (§3.3, §4.3): data-parallel workers, of which rank 0 stores the result."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import train as ray_train
from ray.train import torch as ray_torch
from ray.train.v2.api.exceptions import WorkerGroupError

from spinml.config import TrainingConfig
from spinml.distributed.board import BoardProgress
from spinml.distributed.failures import raised_on_purpose
from spinml.distributed.operations import load
from spinml.distributed.resources import actor_options, settle_process, train_workers
from spinml.logs import configure
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.execution import StageTask, Workplace
from spinml.pipeline.manifest import FileEntry, files_below
from spinml.pipeline.scratch import scratch
from spinml.pipeline.stages import ArtifactKey, StageContext, StageFunction, silent

_KEPT = "kept.tar"


def train_classifier(context: StageContext) -> dict[str, Any]:
    """What runs in each of Ray Train's workers: :func:`spinml.training.classifier.fit`.

    Each worker takes its share of every batch and Ray averages the gradients; every worker
    evaluates all of the validation images, so that all keep the same epoch. Files: see
    :func:`spinml.training.classifier.save_trained`.
    """
    from spinml.synthesis.dataset import ShardDataset, dataset_folders
    from spinml.training.classifier import Hooks, fit, save_trained

    ranks = ray_train.get_context()
    hooks = Hooks(
        prepare_model=ray_torch.prepare_model,
        prepare_loader=ray_torch.prepare_data_loader,
        report=lambda epoch: ray_train.report(epoch.as_dict()),
        progress=context.progress,
        rank=ranks.get_world_rank(),
        workers=ranks.get_world_size(),
    )
    settings = TrainingConfig.model_validate(context.params["settings"])
    dataset = ShardDataset(*dataset_folders(context.inputs))
    return save_trained(fit(dataset, settings, context.params["seed"], hooks), context.out)


def train_detector(context: StageContext) -> dict[str, Any]:
    """As :func:`train_classifier`, by :func:`spinml.training.detector.fit_detector`, in one worker.

    After a worker's death the next attempt goes on from the last epoch.
    """
    from spinml.training.detector_stages import train_detector as run

    return run(context, report=lambda epoch: ray_train.report(epoch.as_dict()))


def train_specialised(context: StageContext) -> dict[str, Any]:
    """The training that the stage's task asks for."""
    return train_detector(context) if context.stage.detects else train_classifier(context)


@dataclass(frozen=True)
class _InStore:
    """What an attempt keeps for the next: a file beside the artifact's, until it is sealed."""

    store: ArtifactStore
    key: ArtifactKey

    def keep(self, file: Path) -> None:
        self.store.put_file(self.key, _KEPT, file)

    def restore(self, file: Path) -> bool:
        if _KEPT not in self.store.list_files(self.key):
            return False
        with scratch("train") as folder:
            self.store.download(self.key, [_KEPT], folder)
            shutil.move(folder / _KEPT, file)
        return True


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
        loop: import path of the function that trains in each worker; a StageFunction. What it
            writes on rank 0 becomes the artifact.

    Raises:
        StageCancelledError: the run was cancelled.
        SpinMLError: what a worker raised, as it raised it.
    """
    started = time.monotonic()
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    resources = workplace.config.resources.training
    strays = set(workplace.store.list_files(task.key)) - {_KEPT}
    workplace.store.delete_files(task.key, strays)
    with scratch("train") as folder:
        trainer = ray_torch.TorchTrainer(
            _work,
            train_loop_config={"job": _Job(task, workplace, loop, progress)},
            torch_config=ray_torch.TorchConfig(backend="nccl" if resources.num_gpus else "gloo"),
            scaling_config=ray_train.ScalingConfig(
                num_workers=train_workers(workplace.config, detects=task.stage.detects),
                use_gpu=resources.num_gpus > 0,
                resources_per_worker=_per_worker(actor_options(resources)),
            ),
            run_config=ray_train.RunConfig(
                name=task.stage.digest[:16],
                storage_path=str(folder),
                # A death is the executor's to retry; Ray Train would retry a cancelled run, too.
                failure_config=ray_train.FailureConfig(max_failures=0),
            ),
        )
        entries, figures = _fit(trainer)
    figures |= {"seconds": round(time.monotonic() - started, 3)}
    workplace.store.delete_files(task.key, [_KEPT])
    workplace.store.seal(task.key, entries, figures)


def _per_worker(options: Mapping[str, float]) -> dict[str, float]:
    """An actor's options by the names that placement groups use."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
    return {names[option]: amount for option, amount in options.items() if amount > 0}


def _fit(trainer: Any) -> tuple[list[FileEntry], dict[str, Any]]:
    """What rank 0 returned; what a worker raised on purpose, or its death, comes out as itself."""
    try:
        result = trainer.fit()
    except WorkerGroupError as error:
        failures = list(error.worker_failures.values())
        own = [found for failure in failures if (found := raised_on_purpose(failure))]
        raise (own or failures)[0] from None
    entries, figures = result.return_value
    return entries, figures


def _work(config: Mapping[str, Any]) -> tuple[list[FileEntry], dict[str, Any]]:
    """In each worker: run the loop; rank 0 puts the files it wrote into the store."""
    job: _Job = config["job"]
    workplace, task = job.workplace, job.task
    job.progress.begin()
    settle_process(workplace.config.resources.training)
    configure(workplace.config.logs.level, workplace.config.logs.format)
    rank = ray_train.get_context().get_world_rank()
    loop: StageFunction = load(job.loop)
    inputs = workplace.fetch_inputs(task)
    with scratch("train") as out:
        progress = job.progress if rank == 0 else silent
        kept = _InStore(workplace.store, task.key)
        context = StageContext(task.stage, inputs, out, workplace.config, progress, kept)
        figures = loop(context)
        entries = []
        if rank == 0:
            names = files_below(out)
            entries = [workplace.store.put_file(task.key, name, out / name) for name in names]
    return entries, figures
