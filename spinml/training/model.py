"""The specialised model: backbone, a linear layer, softmax (§4.3); and how it is stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from spinml.errors import ArtifactError
from spinml.training.backbones import Backbone, empty_backbone

WEIGHTS_FILE, DESCRIPTION_FILE = "model.safetensors", "model.json"
HISTORY_FILE, ONNX_FILE = "history.json", "model.onnx"
_DROPOUT = 0.2


@dataclass(frozen=True)
class Description:
    """What a stored model is; ``model.json``."""

    backbone: str
    classes: list[str]
    image_px: int
    validation_share: float
    seed: int
    task: str = "classification"


class Classifier(nn.Module):
    """RGB in [0, 1], shape ``(n, 3, px, px)``, to logits ``(n, classes)``.

    Args:
        frozen_share: share of the backbone's blocks, from the image on, that training leaves as
            they are, their batch statistics included.
    """

    def __init__(self, backbone: Backbone, classes: int, frozen_share: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone.module
        kept = backbone.blocks[: round(frozen_share * len(backbone.blocks))]
        self._frozen = [part for block in kept for part in block]
        for part in self._frozen:
            part.requires_grad_(False)
        self.head = nn.Sequential(nn.Dropout(_DROPOUT), nn.Linear(backbone.width, classes))
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(backbone.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.std).view(1, 3, 1, 1))

    def train(self, mode: bool = True) -> Classifier:
        """As any module's, but frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone((images - self.mean) / self.std))
        return logits


def save_classifier(folder: Path, state: dict[str, Tensor], description: Description) -> None:
    """Write ``model.safetensors`` and ``model.json``."""
    save_file({name: weight.contiguous() for name, weight in state.items()}, folder / WEIGHTS_FILE)
    (folder / DESCRIPTION_FILE).write_text(json.dumps(asdict(description), indent=2))


def load_classifier(folder: Path) -> tuple[Classifier, Description]:
    """What :func:`save_classifier` wrote, ready to predict.

    Raises:
        ArtifactError: missing or damaged.
    """
    try:
        description = Description(**json.loads((folder / DESCRIPTION_FILE).read_text()))
        model = Classifier(empty_backbone(description.backbone), len(description.classes))
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(
            f"a trained model cannot be loaded: {type(error).__name__}", remedy="train it again"
        ) from error
    return model.eval(), description


def class_list(classes: Sequence[str]) -> str:
    """Class names as a model's metadata holds them."""
    return json.dumps(list(classes), ensure_ascii=False)


class EpochFigures(Protocol):
    """Figures of one epoch, a classifier's or a detector's."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""


def write_history(out: Path, history: Sequence[EpochFigures], best_epoch: int) -> dict[str, Any]:
    """Write ``history.json`` into ``out``; what of it a TRAIN stage's figures have."""
    epochs = [epoch.as_dict() for epoch in history]
    content = {"epochs": epochs, "best_epoch": best_epoch}
    (out / HISTORY_FILE).write_text(json.dumps(content, indent=2))
    return {"epochs": len(epochs), "best_epoch": best_epoch}
