"""The weights of an exported YOLOv8, put back into ultralytics' network to be trained further.

The export folds batch norms into their convolutions, so that a network for training has to be given
batch norms anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

CLASS_SCORES = re.compile(r"model\.\d+\.cv3\.\d+\.2\.")
"""The last layer of the class branch: one row a class, so those of other classes are of no use."""


def onnx_weights(path: Path) -> dict[str, Tensor]:
    """The weights in an ONNX file by their names in torch; stored at half precision or not."""
    found = {}
    for tensor in onnx.load(path).graph.initializer:
        values = np.array(onnx.numpy_helper.to_array(tensor))
        found[tensor.name.removesuffix(".half")] = torch.from_numpy(values)
    return found


def fill_fused(model: nn.Module, state: Mapping[str, Tensor]) -> set[str]:
    """Copy weights whose batch norms were folded into their convolutions; the names filled.

    The folded bias goes into the batch norm, which is made to change nothing else.
    """
    filled: set[str] = set()
    for name, part in model.named_modules():
        weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
        if (
            not isinstance(part, nn.Conv2d | nn.ConvTranspose2d)
            or weight is None
            or weight.shape != part.weight.shape
            or CLASS_SCORES.match(f"{name}.")
        ):
            continue
        with torch.no_grad():
            part.weight.copy_(weight)
            filled.add(f"{name}.weight")
            if part.bias is not None and bias is not None:
                part.bias.copy_(bias)
                filled.add(f"{name}.bias")
            elif bias is not None:
                norm = model.get_submodule(f"{name.removesuffix('.conv')}.bn")
                if not isinstance(norm, nn.BatchNorm2d):
                    raise ValueError(f"{name} has a bias to fold back and no batch norm beside it")
                _set_norm(norm, torch.zeros_like(bias), torch.ones_like(bias), bias)
    return filled


def _set_norm(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, shift: Tensor) -> None:
    """Make ``norm`` add ``shift`` and nothing else, with the statistics of its input."""
    norm.get_buffer("running_mean").copy_(mean)
    norm.get_buffer("running_var").copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(shift + mean)


@torch.no_grad()
def calibrate(model: nn.Module, images: Tensor) -> None:
    """Give every batch norm the mean and variance that its input has on ``images``.

    The network computes the same in evaluation; in training, too, where a batch norm divides by
    the batch's own statistics: with mean 0 and variance 1 assumed, the first step would undo all
    that the weights know.
    """
    statistics: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
            statistics[name] = mean, variance

        return hook

    norms = {n: part for n, part in model.named_modules() if isinstance(part, nn.BatchNorm2d)}
    hooks = [norm.register_forward_pre_hook(keep(name)) for name, norm in norms.items()]
    model.eval()(images)
    for hook in hooks:
        hook.remove()
    for name, (mean, variance) in statistics.items():
        _set_norm(norms[name], mean, variance, norms[name].bias.clone())


def to_batch(images: npt.NDArray[np.uint8]) -> Tensor:
    """RGB images ``(n, px, px, 3)`` as the network takes them: ``(n, 3, px, px)`` in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0
