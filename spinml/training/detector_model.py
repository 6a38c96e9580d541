"""The specialised detector as it is stored: weights and architecture, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from spinml.errors import ArtifactError
from spinml.training.detector_weights import ultralytics_model
from spinml.training.model import DESCRIPTION_FILE, WEIGHTS_FILE


@dataclass(frozen=True)
class DetectorDescription:
    """What a stored detector is; ``model.json``."""

    classes: list[str]
    image_px: int
    validation_share: float
    seed: int
    architecture: dict[str, Any]
    """ultralytics' own description: layers by depth and width."""
    task: str = "detection"


def save_detector(
    folder: Path, state: Mapping[str, Tensor], description: DetectorDescription
) -> None:
    """Write ``model.safetensors`` and ``model.json``."""
    contiguous = {name: weight.contiguous() for name, weight in state.items()}
    save_file(contiguous, folder / WEIGHTS_FILE)
    (folder / DESCRIPTION_FILE).write_text(json.dumps(asdict(description), indent=2))


def load_saved_detector(folder: Path) -> tuple[nn.Module, DetectorDescription]:
    """What :func:`save_detector` wrote: ultralytics' ``DetectionModel``, ready to predict.

    Raises:
        ArtifactError: missing or damaged.
    """
    try:
        description = DetectorDescription(**json.loads((folder / DESCRIPTION_FILE).read_text()))
        names = dict(enumerate(description.classes))
        model = ultralytics_model()(description.architecture, nc=len(names), verbose=False)
        model.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(
            f"a trained detector cannot be loaded: {type(error).__name__}", remedy="train it again"
        ) from error
    model.names, model.task = names, "detect"  # what its exporter and validator ask for
    ready: nn.Module = model.eval()
    return ready, description
