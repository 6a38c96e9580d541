"""How good a classifier is on labelled images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spinml.training.data import Images

_BATCH = 64


@dataclass(frozen=True)
class Evaluation:
    """Figures of a classifier on labelled images.

    Attributes:
        accuracy: share of the images whose most probable class is right.
        loss: mean cross-entropy.
        confusion: how often each true class (row) was called each class (column).
    """

    accuracy: float
    loss: float
    confusion: list[list[int]]


def predict(model: nn.Module, images: Images, device: torch.device) -> Tensor:
    """Logits ``(n, classes)`` on the CPU, in float32."""
    model.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            pixels = images.pixels[start : start + _BATCH].to(device).float() / 255.0
            parts.append(model(pixels).float().cpu())
    return torch.cat(parts)


def evaluate(model: nn.Module, images: Images, device: torch.device) -> Evaluation:
    """Evaluate ``model`` (logits from RGB in [0, 1]) on ``images``."""
    logits = predict(model, images, device)
    classes, guesses = logits.shape[1], logits.argmax(dim=1)
    pairs = torch.bincount(images.labels * classes + guesses, minlength=classes * classes)
    return Evaluation(
        accuracy=float((guesses == images.labels).float().mean()),
        loss=float(F.cross_entropy(logits, images.labels)),
        confusion=pairs.view(classes, classes).tolist(),
    )
