"""Trivially easy data for the detector: one coloured square or disc on grey noise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from spinml.images import encode_png
from spinml.pipeline.stages import Stage, StageKind
from spinml.synthesis.card import finish_dataset
from spinml.synthesis.dataset import shard_schema, write_shard

SIZE_PX = 96
CLASSES = ["red square", "blue disc"]


def draw(label: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image ``(px, px, 3)`` and the object's mask ``(px, px)``."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    half = int(rng.integers(12, 22))
    x, y = (int(value) for value in rng.integers(half, SIZE_PX - half, 2))
    if label == 0:
        cv2.rectangle(mask, (x - half, y - half), (x + half, y + half), 255, -1)
    else:
        cv2.circle(mask, (x, y), half, 255, -1)
    image = rng.integers(90, 130, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    image[mask > 0] = (230, 40, 40) if label == 0 else (40, 40, 230)
    return image, mask


def box_of(mask: np.ndarray) -> list[int]:
    """``[x0, y0, x1, y1]``, the end exclusive."""
    rows, columns = np.nonzero(mask)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    return [int(value) for value in found]


def write_dataset(folder: Path, images: int) -> Path:
    """A generated dataset of one shard, as GENERATE makes it."""
    rows = [_row(number % 2, number) for number in range(images)]
    figures = {
        "label_classes": CLASSES,
        "target_objects": CLASSES,
        "counts": dict.fromkeys(CLASSES, images // 2),
        "rejected": {},
        "draws": images,
        "left_out": 0,
        "seconds": 1.0,
        "target_models": ["base:test"] * len(CLASSES),
        "background_model": "base:test",
    }
    table = pa.Table.from_pylist(rows, schema=shard_schema(CLASSES, figures))
    write_shard(table, folder / "shard-00000.parquet")
    settings = dict.fromkeys(
        ("max_draws", "steps", "guidance_scale", "background_guidance_scale"), 1
    )
    params = {
        "checkpoint": "test",
        "seed": 0,
        "resolution_px": SIZE_PX,
        "target_objects": CLASSES,
        "background": "noise",
        "settings": settings,
    }
    finish_dataset(folder, Stage(StageKind.GENERATE, params))
    return folder


def _row(label: int, seed: int) -> dict[str, object]:
    image, mask = draw(label, seed)
    return {
        "image": {"bytes": encode_png(image), "path": None},
        "label": label,
        "label_name": CLASSES[label],
        "boxes": [box_of(mask)],
        "box_labels": [label],
        "masks": [{"bytes": encode_png(mask), "path": None}],
        "prompts": [f"a {CLASSES[label]}"],
        "background_prompt": "noise",
        "seed": seed,
        "draws": 1,
        "target_models": ["base:test"],
        "background_model": "base:test",
    }
