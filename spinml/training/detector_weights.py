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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
import torch
from torch import nn

from spinml.device.bundled import bundled_segmenter
from spinml.errors import ConfigError
from spinml.home.fused_yolo import CLASS_SCORES, calibrate, fill_fused, onnx_weights, to_batch
from spinml.pipeline.local_files import HOME
from spinml.privacy.onnx_session import open_session
from spinml.training.yolo import ultralytics

HOME_ARCHITECTURE = "yolov8n.yaml"
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
        _require(fill_fused(model, onnx_weights(path)), model, path.name)
        calibrate(model, to_batch(images))
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
    from ultralytics.nn.tasks import torch_safe_load

    try:  # the file is a pickle: nothing but tensors and ultralytics' own classes is made of it
        checkpoint, _ = torch_safe_load(str(path), safe_only=True)
        source = checkpoint.get("ema") or checkpoint["model"]
        model = ultralytics_model()(source.yaml, nc=classes, verbose=False)
    except Exception as error:  # whatever reading an unknown file raises
        raise _unusable(path.name, type(error).__name__) from error
    known, wanted = source.float().state_dict(), model.state_dict()
    fitting = {
        key: value
        for key, value in known.items()
        if key in wanted and wanted[key].shape == value.shape and not CLASS_SCORES.match(key)
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


def _require(filled: set[str], model: nn.Module, what: str) -> None:
    """Refuse weights that leave much of the network as it was."""
    wanted = {
        name: weight.numel()
        for name, weight in model.named_parameters()
        if weight.dim() == 4 and not CLASS_SCORES.match(name)
    }
    share = sum(size for name, size in wanted.items() if name in filled) / sum(wanted.values())
    if share < _LEAST_SHARE:
        raise _unusable(what, f"they fill {share:.0%} of the network, {_LEAST_SHARE:.0%} wanted")


@torch.no_grad()
def _check_boxes(model: nn.Module, path: Path, images: npt.NDArray[np.uint8]) -> None:
    """The boxes of the network and of the ONNX file it was made from must be the same."""
    batch = to_batch(images)
    ours = model.eval()(batch)[0][:, :4].numpy()
    session = open_session(path)
    theirs = session.run(["output0"], {session.get_inputs()[0].name: batch.numpy()})[0][:, :4]
    difference = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else math.inf
    if not difference <= _BOX_TOLERANCE_PX:
        raise _unusable(
            path.name, f"the boxes differ by {difference:.2g} px, at most {_BOX_TOLERANCE_PX} taken"
        )


def _unusable(what: str, why: str) -> ConfigError:
    return ConfigError(
        f"the weights {what} cannot start the detector: {why}",
        remedy="give detection.weights home, a YOLOv8 detection file (.pt) on every worker, "
        "or an architecture such as yolov8n.yaml, which starts from noise",
    )
