"""What the detector starts from (§4.3: "the pre-trained YOLO-v8 detection model").

``home``
    the bundled segmenter, a YOLOv8n-seg trained on the simulated home's public world: its
    backbone, neck and box branch. Nothing of COCO, for its weights come from the network.
``yolov8n.pt`` (s, m, l, x)
    pretrained on COCO by ultralytics; downloaded once, as torchvision's backbones are.
``….pt``
    a file of ultralytics' on the worker.
``….yaml``
    an architecture of ultralytics' with random weights.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import platformdirs
import torch
from torch import Tensor, nn

from spinml.device.bundled import bundled_segmenter
from spinml.errors import ConfigError
from spinml.privacy.onnx_session import open_session
from spinml.training.yolo import ultralytics

HOME, HOME_ARCHITECTURE = "home", "yolov8n.yaml"
_CLASS_SCORES = re.compile(r"model\.\d+\.cv3\.\d+\.2\.")
"""The last layer of the class branch: one row a class, so those of other classes are of no use."""
_RELEASED = re.compile(r"yolov8[nsmlx]\.pt")
_RELEASES = "https://github.com/ultralytics/assets/releases/download/v8.4.0/"
_LEAST_SHARE = 0.9
"""Share of the network's weights that a file must fill, its class scores apart."""
_BOX_TOLERANCE_PX = 0.05


def load_detector(
    weights: str, names: Sequence[str], images: npt.NDArray[np.uint8], *, check_boxes: bool = True
) -> nn.Module:
    """An ultralytics ``DetectionModel`` for the classes ``names``, in training mode, on the CPU.

    Args:
        weights: as the module says.
        images: RGB ``(n, px, px, 3)`` to set the batch statistics of ``home`` by.
        check_boxes: whether the network made from ``home`` is compared with the ONNX file.

    Raises:
        ConfigError: no such file, or its weights are those of another architecture.
    """
    model_class = ultralytics_model()
    if weights == HOME:
        path = bundled_segmenter()
        model = model_class(HOME_ARCHITECTURE, nc=len(names), verbose=False)
        _require(_fill_fused(model, _initializers(path)), model, path.name)
        _calibrate(model, _batch(images))
        if check_boxes:
            _check_boxes(model, path, images[:4])
    elif weights.endswith((".yaml", ".yml")):
        model = _from_architecture(weights, len(names))
    else:
        model = _from_checkpoint(weights, len(names))
    model.names = dict(enumerate(names))
    trained: nn.Module = model.train().requires_grad_(True)
    return trained


def ultralytics_model() -> Any:
    """The class ``DetectionModel``."""
    ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    return DetectionModel


def _from_architecture(name: str, classes: int) -> Any:
    try:
        return ultralytics_model()(name, nc=classes, verbose=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(name, type(error).__name__) from error


def _from_checkpoint(name: str, classes: int) -> Any:
    """The weights of an ultralytics file in a network for ``classes`` classes."""
    path = _released(name) if _RELEASED.fullmatch(name) else Path(name).expanduser()
    if not path.is_file():
        raise _unusable(path.name, "there is no such file")
    ultralytics()
    from ultralytics.nn.tasks import load_checkpoint

    try:
        source, _ = load_checkpoint(str(path))
        model = ultralytics_model()(source.yaml, nc=classes, verbose=False)
    except Exception as error:  # whatever unpickling an unknown file raises
        raise _unusable(path.name, type(error).__name__) from error
    known, wanted = source.float().state_dict(), model.state_dict()
    fitting = {
        key: value
        for key, value in known.items()
        if key in wanted and wanted[key].shape == value.shape and not _CLASS_SCORES.match(key)
    }
    _require(set(fitting), model, path.name)
    model.load_state_dict(fitting, strict=False)
    return model


def _released(name: str) -> Path:
    """One of ultralytics' own files, downloaded once into the user's cache."""
    ultralytics()
    from ultralytics.utils.downloads import safe_download

    path = platformdirs.user_cache_path("spinml") / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            safe_download(_RELEASES + name, file=partial, min_bytes=1e6, retry=1, progress=False)
            partial.replace(path)
        except (OSError, RuntimeError) as error:
            raise _unusable(name, f"its download failed ({type(error).__name__})") from error
        finally:
            partial.unlink(missing_ok=True)
    return path


def _initializers(path: Path) -> dict[str, Tensor]:
    """The weights in an ONNX file by their names in torch; stored at half precision or not."""
    found = {}
    for tensor in onnx.load(path).graph.initializer:
        values = np.array(onnx.numpy_helper.to_array(tensor))
        found[tensor.name.removesuffix(".half")] = torch.from_numpy(values)
    return found


def _fill_fused(model: nn.Module, state: Mapping[str, Tensor]) -> set[str]:
    """Copy weights whose batch norms were folded into their convolutions; the names filled.

    The folded bias goes into the batch norm, which is made to change nothing else.
    """
    filled: set[str] = set()
    for name, part in model.named_modules():
        weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
        if (
            not isinstance(part, nn.Conv2d)
            or weight is None
            or weight.shape != part.weight.shape
            or _CLASS_SCORES.match(f"{name}.")
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
                assert isinstance(norm, nn.BatchNorm2d)  # noqa: S101 - for the type checker
                _set_norm(norm, torch.zeros_like(bias), torch.ones_like(bias), bias)
    return filled


def _set_norm(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, shift: Tensor) -> None:
    """Make ``norm`` add ``shift`` and nothing else, with the statistics of its input."""
    assert norm.running_mean is not None  # noqa: S101 - for the type checker
    assert norm.running_var is not None  # noqa: S101
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(shift + mean)


@torch.no_grad()
def _calibrate(model: nn.Module, images: Tensor) -> None:
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


def _require(filled: set[str], model: nn.Module, what: str) -> None:
    """Refuse weights that leave much of the network as it was."""
    wanted = {
        name: weight.numel()
        for name, weight in model.named_parameters()
        if weight.dim() == 4 and not _CLASS_SCORES.match(name)
    }
    share = sum(size for name, size in wanted.items() if name in filled) / sum(wanted.values())
    if share < _LEAST_SHARE:
        raise _unusable(what, f"they fill {share:.0%} of the network, {_LEAST_SHARE:.0%} wanted")


@torch.no_grad()
def _check_boxes(model: nn.Module, path: Path, images: npt.NDArray[np.uint8]) -> None:
    """The boxes of the network and of the ONNX file it was made from must be the same."""
    batch = _batch(images)
    ours = model.eval()(batch)[0][:, :4].numpy()
    session = open_session(path)
    theirs = session.run(["output0"], {session.get_inputs()[0].name: batch.numpy()})[0][:, :4]
    difference = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else math.inf
    if not difference <= _BOX_TOLERANCE_PX:
        raise _unusable(
            path.name, f"the boxes differ by {difference:.2g} px, at most {_BOX_TOLERANCE_PX} taken"
        )


def _batch(images: npt.NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0


def _unusable(what: str, why: str) -> ConfigError:
    return ConfigError(
        f"the weights {what} cannot start the detector: {why}",
        remedy="give detection.weights home, a YOLOv8 detection file (.pt) on every worker, "
        "or an architecture such as yolov8n.yaml, which starts from noise",
    )
