"""A small dataset with something to learn, written by the code that writes real ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch

from spinml.images import encode_png
from spinml.pipeline.stages import Stage, StageKind
from spinml.synthesis.card import finish_dataset
from spinml.synthesis.dataset import shard_schema, write_shard

torch.set_num_threads(1)  # tiny tensors: threads cost more than they give

CLASSES = ["disc", "bar"]
SIZE_PX = 64


def _row(label: int, seed: int) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    x, y = (int(value) for value in rng.integers(20, 44, 2))
    if label == 0:
        cv2.circle(mask, (x, y), 14, 255, -1)
    else:
        cv2.rectangle(mask, (x - 4, y - 18), (x + 4, y + 18), 255, -1)
    image = rng.integers(90, 130, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    image[mask > 0] = (230, 40, 40) if label == 0 else (40, 40, 230)
    rows, columns = np.nonzero(mask)
    return {
        "image": {"bytes": encode_png(image), "path": None},
        "label": label,
        "label_name": CLASSES[label],
        "boxes": [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]],
        "box_labels": [0],
        "masks": [{"bytes": encode_png(mask), "path": None}],
        "prompts": [f"a {CLASSES[label]}"],
        "background_prompt": "noise",
        "seed": seed,
        "draws": 1,
        "target_models": ["base:test"],
        "background_model": "base:test",
    }


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of red discs and blue bars on grey noise, 24 of each."""
    folder = tmp_path_factory.mktemp("dataset")
    for shard in range(2):
        rows = [_row(number % 2, 100 * shard + number) for number in range(24)]
        figures = {
            "target_objects": ["shape"],
            "label_classes": CLASSES,
            "counts": {"disc": 12, "bar": 12},
            "rejected": {"empty": 1},
            "draws": 25,
            "left_out": 0,
            "seconds": 1.0,
            "target_models": ["base:test"],
            "background_model": "base:test",
        }
        table = pa.Table.from_pylist(rows, schema=shard_schema(CLASSES, figures))
        write_shard(table, folder / f"shard-{shard:05d}.parquet")
    settings = {
        "max_draws": 4,
        "steps": 2,
        "guidance_scale": 3.0,
        "background_guidance_scale": 2.0,
    }
    params = {
        "checkpoint": "test",
        "seed": 0,
        "resolution_px": SIZE_PX,
        "target_objects": ["shape"],
        "background": "noise",
        "settings": settings,
    }
    finish_dataset(folder, Stage(StageKind.GENERATE, params))
    return folder
