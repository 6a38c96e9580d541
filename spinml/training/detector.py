"""Training of the specialised detector (§4.3, B.2): YOLOv8, lr 0.01, batch 16, 5 epochs, best kept.

ultralytics' own loop and augmentation; here are its settings, the figures of each epoch and what is
kept of it. The boxes come from where the objects were placed (§3.3), so nobody drew them.
"""

from __future__ import annotations

import json
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spinml.config import DetectionConfig
from spinml.errors import StageError
from spinml.pipeline.stages import Progress, silent
from spinml.synthesis.compute import select_device
from spinml.training.detector_data import (
    DetectionData,
    sample_images,
    write_detection_data,
)
from spinml.training.detector_model import DetectorDescription
from spinml.training.detector_weights import HOME_ARCHITECTURE, load_detector
from spinml.training.yolo import ultralytics

_WARMUP_SHARE = 0.15
"""Of the epochs, as the classifier's; ultralytics' three epochs would be most of five."""
_LAST, _BEST, _HISTORY = "weights/last.pt", "weights/best.pt", "history.json"


@dataclass(frozen=True)
class DetectionEpoch:
    """Figures of one epoch: losses are sums of box, class and distribution loss, shares in [0, 1].

    Precision and recall are those at the confidence where their harmonic mean is best.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_map50: float
    validation_precision: float
    validation_recall: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class DetectorHooks:
    """Where whoever drives the training steps in; by default nothing happens.

    Attributes:
        report: told of each epoch's figures, once its weights are in the run's folder.
        progress: told of optimiser steps.
    """

    report: Callable[[DetectionEpoch], None] = lambda epoch: None
    progress: Progress = silent


@dataclass(frozen=True)
class TrainedDetector:
    """What training gives: the best epoch's weights on the CPU, and every epoch."""

    description: DetectorDescription
    state: dict[str, Tensor]
    history: list[DetectionEpoch]
    best_epoch: int

    @property
    def best(self) -> DetectionEpoch:
        return self.history[self.best_epoch]


def fit_detector(
    datasets: Sequence[Path],
    settings: DetectionConfig,
    seed: int,
    work: Path,
    hooks: DetectorHooks | None = None,
) -> TrainedDetector:
    """Train a detector on the shards of all ``datasets``; keep the epoch with the best mAP50.

    Deviations from ultralytics' own settings: a step sees ``batch_size`` images (by default it
    gathers 64), and the warm-up is 15 % of the epochs.

    Args:
        work: a folder for the loop's files. With those of an interrupted training
            (:func:`unpack_run`) in it, that one goes on from the epoch after its last whole one.

    Raises:
        ConfigError: the weights cannot be had or do not fit.
        StageError: no images to validate on, or a loss that is not finite.
    """
    data = write_detection_data(datasets, work / "data", settings.validation_share)
    run = _Run(work / "run", settings, hooks or DetectorHooks())
    with torch.random.fork_rng():
        if len(run.history) < settings.epochs:
            run.train(_trainer(run, data, seed))
    best = run.best_model()
    description = DetectorDescription(
        classes=data.classes,
        image_px=settings.image_px,
        validation_share=settings.validation_share,
        seed=seed,
        architecture=best.yaml,
    )
    return TrainedDetector(description, best.float().state_dict(), run.history, run.best_epoch)


def pack_run(work: Path, file: Path) -> None:
    """Write what the training in ``work`` goes on from, after a whole epoch, into a tar."""
    with tarfile.open(file, "w") as archive:
        for name in (_LAST, _BEST, _HISTORY):
            archive.add(work / "run" / name, name)


def unpack_run(file: Path, work: Path) -> None:
    """Put what :func:`pack_run` wrote into ``work``, for :func:`fit_detector` to go on."""
    with tarfile.open(file) as archive:
        archive.extractall(work / "run", filter="data")


class _Run:
    """The folder of ultralytics' loop, and what is kept of its epochs."""

    def __init__(self, folder: Path, settings: DetectionConfig, hooks: DetectorHooks) -> None:
        self.folder, self.settings, self.hooks = folder, settings, hooks
        self.last, self.best = folder / _LAST, folder / _BEST
        self.history: list[DetectionEpoch] = []
        if self.last.exists() and self.best.exists() and (folder / _HISTORY).exists():
            rows = json.loads((folder / _HISTORY).read_text())
            self.history = [DetectionEpoch(**row) for row in rows]
        self._began = time.monotonic()

    @property
    def best_epoch(self) -> int:
        """The last of those with the best mAP50, as ultralytics keeps it."""
        values = [epoch.validation_map50 for epoch in self.history]
        return len(values) - 1 - values[::-1].index(max(values))

    def best_model(self) -> Any:
        """The network of the best epoch."""
        ultralytics()
        from ultralytics.nn.tasks import load_checkpoint

        model, _ = load_checkpoint(str(self.best))
        return model

    def train(self, trainer: Any) -> None:
        threads = torch.get_num_threads()
        trainer.add_callback("on_train_epoch_start", self._begin_epoch)
        trainer.add_callback("on_train_batch_end", self._end_batch)
        trainer.add_callback("on_fit_epoch_end", self._end_epoch)
        try:
            trainer.train()
        finally:
            torch.set_num_threads(threads)

    def _begin_epoch(self, trainer: Any) -> None:
        self._began, self._batch = time.monotonic(), 0

    def _end_batch(self, trainer: Any) -> None:
        value = float(trainer.loss.detach())
        if not abs(value) < float("inf"):
            raise StageError(
                f"the detector's loss is {value} in epoch {trainer.epoch}, wanted a finite one",
                remedy="lower detection.learning_rate",
            )
        self._batch += 1
        steps = len(trainer.train_loader)
        done = trainer.epoch * steps + self._batch
        self.hooks.progress(done, trainer.epochs * steps, "steps")

    def _end_epoch(self, trainer: Any) -> None:
        """After ultralytics has stored the epoch's weights."""
        losses = trainer.label_loss_items(trainer.tloss, prefix="train")
        metrics = trainer.metrics
        epoch = DetectionEpoch(
            epoch=trainer.epoch,
            train_loss=sum(losses.values()),
            validation_loss=sum(v for name, v in metrics.items() if name.startswith("val/")),
            validation_map50=float(metrics["metrics/mAP50(B)"]),
            validation_precision=float(metrics["metrics/precision(B)"]),
            validation_recall=float(metrics["metrics/recall(B)"]),
            seconds=round(time.monotonic() - self._began, 3),
        )
        self.history.append(epoch)
        rows = [one.as_dict() for one in self.history]
        (self.folder / _HISTORY).write_text(json.dumps(rows))
        self.hooks.report(epoch)


def _trainer(run: _Run, data: DetectionData, seed: int) -> Any:
    """ultralytics' trainer, at its beginning or after the last whole epoch of ``run``."""
    overrides = _overrides(run, data, seed)
    if run.history:
        return _trainer_class()(overrides=overrides | {"resume": str(run.last)})
    torch.manual_seed(seed)
    trainer = _trainer_class()(overrides=overrides)
    images = sample_images(data.training, run.settings.image_px)
    trainer.model = load_detector(run.settings.weights, data.classes, images)
    return trainer


def _overrides(run: _Run, data: DetectionData, seed: int) -> dict[str, Any]:
    settings = run.settings
    return {
        "model": HOME_ARCHITECTURE,  # a name that it wants to have; the network is given
        "data": str(data.description),
        "save_dir": str(run.folder),
        "epochs": settings.epochs,
        "batch": settings.batch_size,
        "nbs": settings.batch_size,
        "imgsz": settings.image_px,
        # Any but "auto", which ignores the learning rate.
        "optimizer": "SGD",
        "lr0": settings.learning_rate,
        "warmup_epochs": _WARMUP_SHARE * settings.epochs,
        "freeze": settings.freeze or None,
        "seed": seed,
        "deterministic": True,
        "device": "0" if select_device("auto").type == "cuda" else "cpu",
        # Its check of mixed precision downloads a model.
        "amp": False,
        "workers": 0,
        "patience": settings.epochs,
        "plots": False,
        "verbose": False,
    }


@cache
def _trainer_class() -> Any:
    ultralytics()
    from ultralytics.models.yolo.detect import DetectionTrainer

    class Trainer(DetectionTrainer):  # type: ignore[misc]
        """Keeps the epoch with the best mAP50 (§4.3); ultralytics would by mAP50-95."""

        best_fitness: float | None

        def validate(self) -> tuple[dict[str, float], float]:
            metrics = self.validator(self)
            metrics.pop("fitness")
            fitness = float(metrics["metrics/mAP50(B)"])
            if self.best_fitness is None or self.best_fitness < fitness:
                self.best_fitness = fitness
            return metrics, fitness

        def final_eval(self) -> None:
            """Nothing: the best epoch was validated when it was made."""

    return Trainer
