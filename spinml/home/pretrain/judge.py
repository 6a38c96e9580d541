"""Stage `judge`: a classifier of public objects by `CLASSES`; it scores what the UNet generates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from spinml.home.pretrain.loop import Figures, LoopSettings, train
from spinml.home.pretrain.renders import CLASSES, Pixels, accuracy_by_noun, draw
from spinml.home.pretrain.text_image import unit_images
from spinml.home.pretrain.tower import ImageTower, augment
from spinml.home.pretrain.workspace import Workspace


@dataclass(frozen=True)
class JudgeSettings:
    """Batch and learning rate."""

    batch: int = 64
    rate: float = 2e-3


class JudgeTask:
    """Cross-entropy of the class on augmented objects."""

    def __init__(self, tower: ImageTower, data: Workspace, settings: JudgeSettings) -> None:
        self.modules: dict[str, nn.Module] = {"tower": tower}
        self.tower, self.settings, self.device = tower, settings, data.device
        self.train_set, self.test_set = data.train, data.test

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.tower.parameters()), "lr": self.settings.rate}]

    def loss(self, generator: torch.Generator, progress: float) -> Tensor:
        chosen = draw(len(self.train_set), self.settings.batch, generator)
        images = augment(unit_images(self.train_set.object[chosen]), generator)
        wanted = torch.from_numpy(self.train_set.label[chosen]).to(self.device)
        return F.cross_entropy(self.tower(images.to(self.device)), wanted, label_smoothing=0.05)

    def report(self, logs: Path) -> Figures:
        guesses = judge_labels(self.tower, self.test_set.object)
        return accuracy_by_noun(guesses, self.test_set.label, "accuracy")


@torch.no_grad()
def judge_labels(tower: ImageTower, images: Pixels) -> np.ndarray:
    """Class of each object image as an index into `CLASSES`, shape ``(n,)``."""
    tower.eval()
    device = next(tower.parameters()).device
    parts = [
        tower(unit_images(images[i : i + 64]).to(device)).argmax(dim=1).cpu()
        for i in range(0, len(images), 64)
    ]
    return torch.cat(parts).numpy()


def load_judge(data: Workspace) -> ImageTower:
    """The trained judge in evaluation mode."""
    tower = ImageTower(len(CLASSES))
    tower.load_state_dict(load_file(str(data.model("judge") / "judge.safetensors")))
    return tower.to(data.device).eval()


def run(data: Workspace, loop: LoopSettings, settings: JudgeSettings | None = None) -> Figures:
    """Train and save the judge."""
    torch.manual_seed(loop.seed)
    tower = ImageTower(len(CLASSES)).to(data.device)
    task = JudgeTask(tower, data, settings or JudgeSettings())
    figures = train("judge", task, loop, data.folder("judge"), data.logs)
    model = data.folder("judge") / "model"
    model.mkdir(exist_ok=True)
    save_file(tower.state_dict(), str(model / "judge.safetensors"))
    return figures
