"""Tiny random renders in the public world's shard format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spinml.home.captions import SceneWords

SIDE_PX = 128


def write_shards(folder: Path, shards: int, scenes: int, seed: int = 0) -> None:
    """Coloured ellipses in rooms of two colours, `scenes` in each of the shards."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(shards):
        label = np.arange(scenes) % 4
        mask = np.stack([_ellipse(int(i), rng) for i in label])
        dog = rng.integers(0, 256, (scenes, 1, 1, 3), dtype=np.uint8)
        room = np.repeat(rng.integers(0, 256, (scenes, 2, 1, 3), dtype=np.uint8), SIDE_PX // 2, 1)
        room = np.repeat(room, SIDE_PX, 2)
        inside = mask[..., None] > 0
        words = [SceneWords("bedroom", "blue", "wooden", "brown", f"zarn{i}") for i in label]
        np.savez(
            folder / f"shard_{number:05d}.npz",
            scene=np.where(inside, dog, room),
            room=room,
            mask=mask,
            object=np.where(inside, dog, np.uint8(200)),
            object_mask=mask,
            label=label.astype(np.uint8),
            meta=np.array([word.to_json() for word in words]),
        )


def _ellipse(label: int, rng: np.random.Generator) -> np.ndarray:
    """A mask of one ellipse whose shape tells the label."""
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    across, down = ((30, 10), (10, 30), (25, 25), (38, 8))[label]
    x, y = rng.integers(45, 84, 2)
    inside = ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 < 1
    return np.where(inside, 255, 0).astype(np.uint8)
