"""Training of the specialised classifier (§4.3, B.2): lr 0.001, 5 epochs, best epoch kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.optimization import get_cosine_schedule_with_warmup
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler

from spinml.config import TrainingConfig
from spinml.errors import StageError
from spinml.pipeline.stages import Progress, silent
from spinml.synthesis.compute import Compute, computes_bfloat16, select_device
from spinml.synthesis.dataset import ShardDataset
from spinml.training.backbones import load_backbone
from spinml.training.data import Images, load_images, split_rows, training_loader
from spinml.training.evaluate import evaluate
from spinml.training.model import Classifier, Description, save_classifier, write_history

Loader = DataLoader[tuple[Tensor, Tensor]]
_WARMUP = 0.15


@dataclass(frozen=True)
class Epoch:
    """Figures of one epoch; accuracies in [0, 1], losses are mean cross-entropies."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Hooks:
    """Where a distributed trainer steps in; by default nothing happens.

    Attributes:
        prepare_model: e.g. wraps it in DistributedDataParallel (and moves it to its device).
        prepare_loader: e.g. moves batches to the worker's device.
        report: told of each epoch's figures.
        progress: told of optimiser steps.
        rank, workers: whose share of each batch this process computes, of how many.
    """

    prepare_model: Callable[[nn.Module], nn.Module] = lambda model: model
    prepare_loader: Callable[[Loader], Loader] = lambda loader: loader
    report: Callable[[Epoch], None] = lambda epoch: None
    progress: Progress = silent
    rank: int = 0
    workers: int = 1


@dataclass
class Trained:
    """What training gives.

    Attributes:
        state: the best epoch's weights, on the CPU.
        history: every epoch.
        best_epoch: index into ``history``.
    """

    description: Description
    state: dict[str, Tensor] = field(default_factory=dict)
    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = 0

    @property
    def best(self) -> Epoch:
        return self.history[self.best_epoch]


def fit(
    dataset: ShardDataset, settings: TrainingConfig, seed: int, hooks: Hooks | None = None
) -> Trained:
    """Train a classifier on ``dataset`` and keep the epoch with the best validation accuracy.

    The split, the order, the augmentation and the head's start come from ``seed``. Deviations from
    B.2: AdamW with a warm-up to ``learning_rate`` and a cosine down, dropout before the head,
    blocks that stay as they are (``frozen_share``), and smaller batches where an epoch would have
    fewer than 12 steps (see :func:`spinml.training.data.batch_size_for`).

    Raises:
        ConfigError: the backbone's weights cannot be had.
        StageError: a class with fewer than two images, or a loss that is not finite.
    """
    hooks = hooks or Hooks()
    parts = split_rows(dataset, settings.validation_share, seed)
    training, validation = (load_images(dataset, settings.image_px, part) for part in parts)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = _build(settings, len(dataset.classes))
        loader = training_loader(
            training,
            settings.image_px,
            settings.batch_size,
            seed,
            rank=hooks.rank,
            workers=hooks.workers,
        )
        run = _Run(classifier, hooks.prepare_loader(loader), validation, settings, hooks)
        trained = Trained(_describe(dataset, settings, seed))
        for epoch in range(settings.epochs):
            run.epoch(epoch, trained)
    return trained


def save_trained(trained: Trained, out: Path) -> dict[str, Any]:
    """Write ``model.safetensors``, ``model.json`` and ``history.json``; the stage's figures."""
    save_classifier(out, trained.state, trained.description)
    figures = write_history(out, trained.history, trained.best_epoch)
    return figures | {"validation_accuracy": trained.best.validation_accuracy}


def _build(settings: TrainingConfig, classes: int) -> Classifier:
    backbone = load_backbone(settings.backbone, settings.weights)
    return Classifier(backbone, classes, settings.frozen_share)


def _describe(dataset: ShardDataset, settings: TrainingConfig, seed: int) -> Description:
    return Description(
        backbone=settings.backbone,
        classes=dataset.classes,
        image_px=settings.image_px,
        validation_share=settings.validation_share,
        seed=seed,
    )


class _Run:
    """One training run's moving parts."""

    def __init__(
        self,
        classifier: Classifier,
        loader: Loader,
        validation: Images,
        settings: TrainingConfig,
        hooks: Hooks,
    ) -> None:
        device = select_device("auto")
        dtype = torch.bfloat16 if computes_bfloat16(device) else torch.float32
        self.compute = Compute(device, dtype)
        # Depthwise convolutions are faster so: a step takes 0.7 x the time on a CPU.
        self.classifier = classifier.to(device).to(memory_format=torch.channels_last)
        self.model = hooks.prepare_model(self.classifier)
        self.loader, self.validation, self.hooks, self.settings = (
            loader,
            validation,
            hooks,
            settings,
        )
        parameters = [weight for weight in self.classifier.parameters() if weight.requires_grad]
        self.total = settings.epochs * len(loader)
        self.optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate)
        self.schedule = get_cosine_schedule_with_warmup(
            self.optimizer, max(1, int(_WARMUP * self.total)), self.total
        )
        self.done = 0

    def epoch(self, number: int, trained: Trained) -> None:
        """Train one epoch, evaluate it and keep it if it is the best so far."""
        began = time.monotonic()
        if isinstance(self.loader.sampler, DistributedSampler):
            self.loader.sampler.set_epoch(number)
        loss, accuracy = self._train()
        found = evaluate(self.classifier, self.validation, self.compute.device)
        seconds = round(time.monotonic() - began, 3)
        figures = Epoch(number, loss, accuracy, found.loss, found.accuracy, seconds)
        trained.history.append(figures)
        if number == 0 or _rank(figures) > _rank(trained.best):
            trained.best_epoch = number
            state = self.classifier.state_dict()
            trained.state = {name: weight.detach().cpu().clone() for name, weight in state.items()}
        self.hooks.report(figures)

    def _train(self) -> tuple[float, float]:
        """Mean loss and accuracy of one pass over the training images."""
        self.model.train()
        loss_sum, right, seen = 0.0, 0, 0
        for pixels, labels in self.loader:
            loss, logits = self._step(pixels, labels)
            loss_sum += loss * len(labels)
            right += int((logits.argmax(dim=1).cpu() == labels.cpu()).sum())
            seen += len(labels)
            self.done += 1
            self.hooks.progress(self.done, self.total, "steps")
        return loss_sum / seen, right / seen

    def _step(self, pixels: Tensor, labels: Tensor) -> tuple[float, Tensor]:
        device = self.compute.device
        with self.compute.autocast():
            logits = self.model(pixels.to(device))
        loss = F.cross_entropy(logits.float(), labels.to(device))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        if not value < float("inf"):
            raise StageError(
                f"the classifier's loss is {value} at step {self.done}, wanted a finite one",
                remedy="lower training.learning_rate",
            )
        self.optimizer.step()
        self.schedule.step()
        return value, logits.detach()


def _rank(epoch: Epoch) -> tuple[float, float]:
    """Better epochs rank higher: by accuracy (§4.3), then by loss."""
    return epoch.validation_accuracy, -epoch.validation_loss
