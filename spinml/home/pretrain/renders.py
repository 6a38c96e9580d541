"""The public world's renders in memory: shards ``<task>/shard_*.npz`` of arrays and words.

One row is one object of one scene, as one scene may hold a bottle and a photo frame. The tasks'
scenes are mixed in an order that is always the same, so that any part of the rows holds all tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spinml.home.captions import NOUNS, SceneWords, object_caption, room_caption, scene_caption
from spinml.home.keypoints import KEYPOINTS
from spinml.home.tasks import TASKS, Task

Pixels = NDArray[np.uint8]
KINDS = ("object", "room", "scene")


@dataclass(frozen=True)
class ObjectClass:
    """What an object is, and what it does where it can do something."""

    noun: str
    status: str | None

    @property
    def words(self) -> str:
        """``a dog is sitting``, ``a pill bottle``."""
        return f"a {self.noun}" + (f" is {self.status}" if self.status else "")

    @property
    def prompt(self) -> str:
        """The caption of such an object on plain ground, without colours."""
        return f"{self.words}, plain background"


def _classes(of: Task) -> list[ObjectClass]:
    """The task's target in every status, then its further subjects."""
    statuses: tuple[str | None, ...] = (None,) if of.detection else of.labels
    target = [ObjectClass(NOUNS[of.target], status) for status in statuses]
    return target + [ObjectClass(NOUNS[name], None) for name in of.subjects[1:]]


CLASSES = tuple(one for of in TASKS.values() for one in _classes(of))
"""All that the checkpoint is to know: each object in each status."""
NOUN_ORDER = tuple(dict.fromkeys(one.noun for one in CLASSES))


def status_group(label: int) -> list[int]:
    """The classes that differ from class `label` in their status, or, without one, in the noun."""
    of = CLASSES[label]
    if of.status:
        return [i for i, one in enumerate(CLASSES) if one.noun == of.noun]
    return [i for i, one in enumerate(CLASSES) if not one.status]


@dataclass(frozen=True)
class Renders:
    """Objects in scenes, each seen three ways.

    Attributes:
        scene, room, object: RGB, shape ``(n, 128, 128, 3)``; `object` is it on plain ground.
        mask, object_mask: the object's pixels in `scene` and in `object`, 0 or 255,
            ``(n, 128, 128)``.
        keypoints: a person's, in pixels of `object`, ``(n, 18, 3)``; zeros for others.
        label: index into `CLASSES`, shape ``(n,)``.
        scene_id: equal where rows show the same scene; such rows are neighbours, ``(n,)``.
        words: what the captions may say of each object and its scene.
    """

    scene: Pixels
    mask: Pixels
    room: Pixels
    object: Pixels
    object_mask: Pixels
    keypoints: NDArray[np.float32]
    label: NDArray[np.int64]
    scene_id: NDArray[np.int64]
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
        words, status = self.words[index], CLASSES[self.label[index]].status
        if kind == "object":
            return object_caption(words, status, rng)
        if kind == "room":
            return room_caption(words, rng)
        return scene_caption(words, status, rng)

    def scenes(self) -> Iterator[NDArray[np.int64]]:
        """The rows of each scene."""
        starts = np.flatnonzero(np.diff(self.scene_id)) + 1
        yield from np.split(np.arange(len(self)), starts)

    def rows(self, chosen: NDArray[np.int64] | slice) -> Renders:
        """Some of the rows."""
        arrays = {f.name: getattr(self, f.name)[chosen] for f in fields(self) if f.name != "words"}
        words = [self.words[i] for i in np.arange(len(self))[chosen]]
        return Renders(**arrays, words=tuple(words))

    def slice(self, start: int, stop: int) -> Renders:
        """The rows from `start` to `stop`."""
        return self.rows(slice(start, stop))


def load(folder: Path, limit: int | None = None) -> Renders:
    """All finished shards of all tasks under a folder, mixed; `limit` rows at most.

    Raises:
        FileNotFoundError: no task has a shard.
    """
    tables = [
        _read(shard, of)
        for name, of in TASKS.items()
        for shard in sorted((folder / name).glob("shard_*.npz"))
    ]
    if not tables:
        wanted = f"{folder}/<task>/shard_*.npz, <task> one of {', '.join(TASKS)}"
        raise FileNotFoundError(f"no shard at {wanted}; render first: jobs/render_home.py")
    words = tuple(row for table in tables for row in table.pop("words"))
    scene_ids = _count_scenes([table["scene_id"] for table in tables])
    order = _mixed(scene_ids)[:limit]
    arrays: dict[str, Any] = {"scene_id": scene_ids[order]}
    for name in [name for name in tables[0] if name != "scene_id"]:
        arrays[name] = np.concatenate([table.pop(name) for table in tables])[order]
    return Renders(**arrays, words=tuple(words[i] for i in order))


def _count_scenes(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Scenes' numbers within parts as numbers over all parts; a task's parts share scenes."""
    first, numbers = 0, []
    for part in parts:
        numbers.append(part + first)
        first += int(part.max()) + 1
    return np.concatenate(numbers)


def _mixed(scene_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """An order of the rows in which scenes are shuffled and a scene's rows stay together."""
    place = np.random.default_rng(0).permutation(int(scene_ids.max()) + 1)
    return np.argsort(place[scene_ids], kind="stable")


def _read(shard: Path, of: Task) -> dict[str, Any]:
    """A shard's rows, by column."""
    with np.load(shard) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    words = [SceneWords.from_json(str(meta)) for meta in content["meta"]]
    first = next(i for i, one in enumerate(CLASSES) if one.noun == NOUNS[of.target])
    count = len(words)
    table: dict[str, Any] = {
        name: content[name] for name in ("scene", "mask", "room", "object", "object_mask")
    }
    table |= {
        "keypoints": content.get(
            "object_keypoints", np.zeros((count, len(KEYPOINTS), 3), np.float32)
        ),
        "label": content["label"].astype(np.int64) + first,
        "scene_id": np.arange(count),
        "words": words,
    }
    return _with_second(table, content, of) if len(of.subjects) > 1 else table


def _with_second(table: dict[str, Any], content: dict[str, Any], of: Task) -> dict[str, Any]:
    """The rows of `table`, each followed by one of its scene's second object where it is shown."""
    noun = NOUNS[of.subjects[1]]
    label = next(i for i, one in enumerate(CLASSES) if one.noun == noun)
    shown = np.flatnonzero(content["second_mask"].any(axis=(1, 2)))
    second = {name: table[name][shown] for name in ("scene", "room", "scene_id", "keypoints")}
    for name in ("mask", "object", "object_mask"):
        second[name] = content[f"second_{name}"][shown]
    second["label"] = np.full(len(shown), label)
    words = table["words"] + [replace(table["words"][i], look="", noun=noun) for i in shown]
    order = np.argsort(np.concatenate([table["scene_id"], shown]), kind="stable")
    joined: dict[str, Any] = {
        name: np.concatenate([table[name], second[name]])[order] for name in second
    }
    return joined | {"words": [words[i] for i in order]}


def accuracy_by_noun(
    guesses: NDArray[np.int64], labels: NDArray[np.int64], name: str
) -> dict[str, float]:
    """Share of right classes: ``name`` over all images, ``name_dog`` … over those of each noun."""
    figures = {name: float((guesses == labels).mean())}
    for noun in NOUN_ORDER:
        chosen = np.array([CLASSES[label].noun == noun for label in labels])
        if chosen.any():
            share = float((guesses == labels)[chosen].mean())
            figures[f"{name}_{noun.replace(' ', '_')}"] = share
    return figures


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
