"""A home of three photos, and a sweep of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from spinml.config import ResourceConfig, Resources, ServerConfig
from spinml.sweep.spec import SweepSpec
from tests.photos import cat, ellipse

REQUEST = {
    "target_object": "cat",
    "background": "living room",
    "training_objective": "what is my cat doing",
    "label_classes": ["dark", "bright"],
}
GRID = {"target": ["L0", "L1", "L2"], "background": ["L0", "L1", "L2"]}


def make_home(folder: Path) -> dict[str, str]:
    """Three references with masks, and four labelled photos of which one is labelled wrongly."""
    for index in range(3):
        for name, image in (("references", cat()), ("masks", ellipse().astype(np.uint8) * 255)):
            path = folder / name / f"p{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.roll(image, 20 * index, axis=1))
    for index, (label, level) in enumerate(
        [("dark", 10), ("dark", 30), ("bright", 240), ("bright", 20)]
    ):
        path = folder / "labelled" / label / f"p{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((32, 32, 3), level, np.uint8))
    return {name: str(folder / name) for name in ("references", "masks", "labelled")}


def make_spec(photos: dict[str, str] | None = None, **fields: Any) -> SweepSpec:
    data = {"name": "cats", "request": REQUEST, "photos": photos, "wanted_accuracy": 0.7}
    return SweepSpec.model_validate({"space": {"preferences": GRID}, **data, **fields})


def make_config(folder: Path, *, gpus: float = 0) -> ServerConfig:
    light = Resources(num_cpus=1)
    return ServerConfig.model_validate(
        {
            "store": {"artifacts": f"file://{folder}/store"},
            "finetune": {"class_images": 0},
            "resources": ResourceConfig(
                diffusion=Resources(num_cpus=1, num_gpus=gpus),
                generation=light,
                training=light,
                light=light,
            ),
        }
    )


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, str]:
    return make_home(tmp_path / "home")
