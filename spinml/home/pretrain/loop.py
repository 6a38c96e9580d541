"""One resumable training loop with a wall-clock budget, shared by all stages that torch trains."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Figures = dict[str, float]
Log = Callable[[str], None]


def print_now(message: str) -> None:
    """Write to standard output without buffering, so that a job's log can be followed."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {message}\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class LoopSettings:
    """How long and how to train. One of `minutes` and `steps` must be given; the first met ends it.

    Attributes:
        minutes: wall-clock budget over all resumed runs, reports included.
        steps: budget in optimiser steps over all resumed runs.
        warmup: share of the budget in which the learning rate rises to its full value.
        final_rate: share of the learning rate left at the end of the cosine.
        ema_decay: decay of the averaged weights, which are the ones reported and kept.
        bf16: run the forward pass under bfloat16 autocast.
    """

    minutes: float | None = None
    steps: int | None = None
    warmup: float = 0.03
    final_rate: float = 0.01
    ema_decay: float = 0.999
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    bf16: bool = True
    seed: int = 0
    save_every_s: float = 120.0
    report_every_s: float = 300.0
    log_every_s: float = 20.0

    def __post_init__(self) -> None:
        if self.minutes is None and self.steps is None:
            raise ValueError("LoopSettings needs a budget: give minutes, steps or both")

    def progress(self, step: int, elapsed_s: float) -> float:
        """Share of the budget that is spent, 0 to 1."""
        shares = [0.0]
        if self.minutes is not None:
            shares.append(elapsed_s / (60 * self.minutes) if self.minutes > 0 else 1.0)
        if self.steps is not None:
            shares.append(step / self.steps if self.steps > 0 else 1.0)
        return min(1.0, max(shares))

    def rate(self, progress: float) -> float:
        """Factor on every learning rate: linear warm-up, then one half cosine."""
        if progress < self.warmup:
            return max(0.02, progress / self.warmup)
        rest = (progress - self.warmup) / (1 - self.warmup)
        return self.final_rate + (1 - self.final_rate) * 0.5 * (1 + math.cos(math.pi * rest))


def attention(device: str) -> AbstractContextManager[None]:
    """On a CPU, plain attention: the fused kernel's backward took a fifth of a UNet's step."""
    return sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()


class TrainingTask(Protocol):
    """What a stage gives to the loop."""

    modules: dict[str, nn.Module]
    """Modules whose parameters are trained, averaged and saved, by name."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for AdamW, each with `params` and `lr`."""

    def loss(self, generator: torch.Generator, progress: float) -> Tensor:
        """Loss of one fresh batch, a scalar; every random draw comes from `generator`."""

    def report(self, logs: Path) -> Figures:
        """Figures with the averaged weights in place; may write pictures into `logs`."""


class Loop:
    """Training state that survives a restart: weights, optimiser, EMA, step, time and RNG."""

    def __init__(
        self, name: str, task: TrainingTask, settings: LoopSettings, folder: Path, logs: Path
    ) -> None:
        self.name, self.task, self.settings = name, task, settings
        self.state_file, self.logs = folder / "state.pt", logs
        folder.mkdir(parents=True, exist_ok=True)
        logs.mkdir(parents=True, exist_ok=True)
        self.groups = task.parameter_groups()
        self.rates = [float(group["lr"]) for group in self.groups]
        self.parameters = [p for group in self.groups for p in group["params"]]
        self.optimizer = torch.optim.AdamW(
            self.groups, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
        )
        self.ema = EMAModel(
            self.parameters, decay=settings.ema_decay, use_ema_warmup=True, power=0.75, foreach=True
        )
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.step, self.elapsed_s = 0, 0.0
        self.history: list[dict[str, float]] = []

    def save(self) -> None:
        """Write the state beside the old one, then replace it: a kill in between loses nothing."""
        state = {
            "modules": {name: m.state_dict() for name, m in self.task.modules.items()},
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "history": self.history,
        }
        partial = self.state_file.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.state_file)

    def resume(self) -> bool:
        """Load the state if there is one; says whether there was."""
        if not self.state_file.exists():
            return False
        state = torch.load(self.state_file, map_location="cpu", weights_only=True)
        for name, module in self.task.modules.items():
            module.load_state_dict(state["modules"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])
        self.ema.to(self.parameters[0].device)
        self.generator.set_state(state["generator"])
        self.step, self.elapsed_s = int(state["step"]), float(state["elapsed_s"])
        self.history = list(state["history"])
        return True

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The EMA weights in place, modules in evaluation mode."""
        self.ema.store(self.parameters)
        self.ema.copy_to(self.parameters)
        for module in self.task.modules.values():
            module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.ema.restore(self.parameters)

    def train_step(self, progress: float) -> float:
        """One optimiser step; gives the loss."""
        factor = self.settings.rate(progress)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        device = self.parameters[0].device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.settings.bf16), attention(device):
            loss = self.task.loss(self.generator, progress)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm)
        if not math.isfinite(float(norm)):
            raise FloatingPointError(
                f"{self.name}: gradient norm {float(norm)} at step {self.step}, wanted a finite "
                "one; lower the learning rate or switch bf16 off, then resume"
            )
        self.optimizer.step()
        self.ema.step(self.parameters)
        self.step += 1
        return float(loss.detach())

    def report(self, loss: float) -> Figures:
        """Figures and pictures of the averaged weights, also written to `logs/<name>.json`."""
        with self.averaged_weights():
            figures = self.task.report(self.logs)
        entry = {"step": self.step, "minutes": round(self.elapsed_s / 60, 2), "loss": loss}
        self.history.append(entry | figures)
        content = {"stage": self.name, "figures": figures, "history": self.history}
        (self.logs / f"{self.name}.json").write_text(json.dumps(content, indent=1))
        return figures


def train(
    name: str,
    task: TrainingTask,
    settings: LoopSettings,
    folder: Path,
    logs: Path,
    log: Log = print_now,
) -> Figures:
    """Train until the budget is spent, resuming from `folder`.

    Leaves the averaged weights in the modules.
    """
    loop = Loop(name, task, settings, folder, logs)
    resumed = loop.resume()
    log(f"{name}: {'resumed' if resumed else 'started'} at step {loop.step}")
    loss = _run(loop, log)
    figures = loop.report(loss)
    loop.save()
    log(f"{name}: done, {loop.step} steps in {loop.elapsed_s / 60:.1f} min, {_show(figures)}")
    loop.ema.copy_to(loop.parameters)
    for module in task.modules.values():
        module.eval()
    return figures


def _run(loop: Loop, log: Log) -> float:
    """Steps, saves and reports until the budget is spent; gives the last mean loss."""
    settings = loop.settings
    before_s, begin = loop.elapsed_s, time.monotonic()
    saved = reported = logged = begin
    first_step, recent, mean = loop.step, [], float("nan")
    while (progress := settings.progress(loop.step, loop.elapsed_s)) < 1:
        for module in loop.task.modules.values():
            module.train()
        recent.append(loop.train_step(progress))
        now = time.monotonic()
        loop.elapsed_s = before_s + now - begin
        if now - logged >= settings.log_every_s:
            mean, recent, logged = sum(recent) / len(recent), [], now
            log(_line(loop, mean, (loop.step - first_step) / (now - begin)))
        if now - reported >= settings.report_every_s:
            log(f"{loop.name}: {_show(loop.report(mean))}")
            reported = time.monotonic()
        if now - saved >= settings.save_every_s:
            loop.save()
            saved = time.monotonic()
    return sum(recent) / len(recent) if recent else mean


def _line(loop: Loop, loss: float, rate: float) -> str:
    """One log line: done, rate, time left, loss."""
    progress = loop.settings.progress(loop.step, loop.elapsed_s)
    left_s = loop.elapsed_s * (1 / max(progress, 1e-6) - 1)
    return (
        f"{loop.name}: step {loop.step}, {progress:.1%} done, {rate:.2f} steps/s, "
        f"{left_s / 60:.1f} min left, loss {loss:.4f}"
    )


def _show(figures: Figures) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
