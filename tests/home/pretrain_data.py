"""Tiny random renders in the public world's shard format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spinml.home.captions import SceneWords

SIDE_PX = 128


def write_shards(folder: Path, shards: int, scenes: int, seed: int = 0) -> None:
    """Coloured ellipses in rooms of two colours, `scenes` in each of the shards of each task."""
    rng = np.random.default_rng(seed)
    for task, noun, labels in (("pet", "dog", 4), ("human", "person", 4), ("bottle", "", 1)):
        (folder / task).mkdir(parents=True)
        for number in range(shards):
            arrays = _arrays(rng, scenes, noun or "pill bottle", labels)
            if task == "human":
                arrays["object_keypoints"] = _keypoints(scenes, rng)
            if task == "bottle":
                arrays |= _second(arrays)
            np.savez(folder / task / f"shard_{number:05d}.npz", **arrays)


def _arrays(rng: np.random.Generator, scenes: int, noun: str, labels: int) -> dict[str, np.ndarray]:
    """What the shards of every task hold."""
    label = np.arange(scenes) % labels
    mask = np.stack([_ellipse(int(i), rng) for i in label])
    colour = rng.integers(0, 256, (scenes, 1, 1, 3), dtype=np.uint8)
    room = np.repeat(rng.integers(0, 256, (scenes, 2, 1, 3), dtype=np.uint8), SIDE_PX // 2, 1)
    room = np.repeat(room, SIDE_PX, 2)
    inside = mask[..., None] > 0
    words = [SceneWords("bedroom", "blue", "wooden", "brown", f"zarn{i}", noun) for i in label]
    return {
        "scene": np.where(inside, colour, room),
        "room": room,
        "mask": mask,
        "object": np.where(inside, colour, np.uint8(200)),
        "object_mask": mask,
        "label": label.astype(np.uint8),
        "meta": np.array([word.to_json() for word in words]),
    }


def _second(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A photo frame in every other scene, as shards have it."""
    shown = np.arange(len(arrays["label"])) % 2 == 0
    names = {"mask": "second_mask", "object": "second_object", "object_mask": "second_object_mask"}
    return {
        second: np.where(shown.reshape(-1, *[1] * (arrays[name].ndim - 1)), arrays[name], 0)
        for name, second in names.items()
    }


def _keypoints(scenes: int, rng: np.random.Generator) -> np.ndarray:
    """Eighteen keypoints near the middle, all seen, shape ``(n, 18, 3)``."""
    places = rng.uniform(SIDE_PX * 0.4, SIDE_PX * 0.6, (scenes, 18, 2))
    return np.concatenate([places, np.full((scenes, 18, 1), 2)], axis=2).astype(np.float32)


def _ellipse(label: int, rng: np.random.Generator) -> np.ndarray:
    """A mask of one ellipse whose shape tells the label."""
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    across, down = ((30, 10), (10, 30), (25, 25), (38, 8))[label]
    x, y = rng.integers(45, 84, 2)
    inside = ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 < 1
    return np.where(inside, 255, 0).astype(np.uint8)
