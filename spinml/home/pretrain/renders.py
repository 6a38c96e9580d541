"""The public world's renders in memory: shards `shard_*.npz` of arrays and captions' words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spinml.home.captions import SceneWords, object_caption, room_caption, scene_caption
from spinml.home.poses import STATUSES

Pixels = NDArray[np.uint8]
KINDS = ("object", "room", "scene")
LABELS = STATUSES
_ARRAYS = ("scene", "mask", "room", "object", "object_mask")


@dataclass(frozen=True)
class Renders:
    """Scenes, each seen three ways.

    Attributes:
        scene, room, object: RGB, shape ``(n, 128, 128, 3)``; `object` is the dog on plain ground.
        mask, object_mask: the dog's pixels in `scene` and in `object`, 0 or 255, ``(n, 128, 128)``.
        label: index into `LABELS`, shape ``(n,)``.
        words: what the captions may say of each scene.
    """

    scene: Pixels
    mask: Pixels
    room: Pixels
    object: Pixels
    object_mask: Pixels
    label: NDArray[np.int64]
    words: tuple[SceneWords, ...]

    def __len__(self) -> int:
        return len(self.label)

    def images(self, kind: str) -> Pixels:
        """Images of one of `KINDS`, shape ``(n, 128, 128, 3)``."""
        if kind not in KINDS:
            raise ValueError(f"kind of image is {kind!r}, wanted one of {KINDS}")
        images: Pixels = getattr(self, kind)
        return images

    def caption(self, kind: str, index: int, rng: np.random.Generator) -> str:
        """A random caption of one image; some leave the status out."""
        words, label = self.words[index], LABELS[self.label[index]]
        if kind == "object":
            return object_caption(words, label, rng)
        if kind == "room":
            return room_caption(words, rng)
        return scene_caption(words, label, rng)

    def slice(self, start: int, stop: int) -> Renders:
        """The scenes from `start` to `stop`."""
        arrays = {name: getattr(self, name)[start:stop] for name in _ARRAYS}
        return Renders(**arrays, label=self.label[start:stop], words=self.words[start:stop])


def load(folder: Path, limit: int | None = None) -> Renders:
    """All finished shards of a folder in name order, `limit` scenes at most."""
    shards = sorted(folder.glob("shard_*.npz"))
    if not shards:
        raise FileNotFoundError(f"no shard_*.npz in {folder}; render first: jobs/render_home.py")
    parts: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in _ARRAYS}
    labels: list[int] = []
    words: list[SceneWords] = []
    for shard in shards:
        with np.load(shard) as arrays:
            for name in _ARRAYS:
                parts[name].append(arrays[name])
            labels += [int(label) for label in arrays["label"]]
            words += [SceneWords.from_json(str(meta)) for meta in arrays["meta"]]
        if limit is not None and len(labels) >= limit:
            break
    stop = len(labels) if limit is None else min(limit, len(labels))
    joined = {name: np.concatenate(parts.pop(name))[:stop] for name in _ARRAYS}
    return Renders(**joined, label=np.array(labels[:stop]), words=tuple(words[:stop]))


def to_tensor(images: Pixels) -> Tensor:
    """Bytes ``(b, h, w, 3)`` to floats ``(b, 3, h, w)`` in [-1, 1], as the VAE takes them."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(images: Tensor) -> Pixels:
    """Floats ``(b, 3, h, w)`` in [-1, 1] to bytes ``(b, h, w, 3)``."""
    scaled = ((images.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255)
    pixels: Pixels = scaled.to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return pixels


def draw(count: int, size: int, generator: torch.Generator) -> NDArray[np.int64]:
    """`size` random indices below `count`, shape ``(size,)``."""
    indices: NDArray[np.int64] = torch.randint(count, (size,), generator=generator).numpy()
    return indices


def save_grid(path: Path, images: Pixels, columns: int = 8) -> None:
    """A picture of images ``(n, h, w, 3)`` in rows of `columns`."""
    import cv2

    count, height, width, _ = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * columns, height, width, 3), 255, np.uint8)
    sheet[:count] = images
    sheet = sheet.reshape(rows, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    picture = sheet.reshape(rows * height, columns * width, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[:, :, ::-1])
