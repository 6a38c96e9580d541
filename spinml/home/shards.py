"""The public world on disk: shards of rendered scenes for the pretraining.

``shard_00000.npz`` holds 256 scenes of one task. Every task has

- ``scene``, ``room`` and ``object`` ``(n, 128, 128, 3)``: the picture, the same without subjects,
  the target object on plain ground; ``mask`` and ``object_mask`` ``(n, 128, 128)`` in 0..255;
- ``label`` ``(n,)``, an index in the task's labels (:data:`~spinml.home.tasks.TASKS`), and ``meta``
  ``(n,)``, JSON of :class:`~spinml.home.captions.SceneWords`;
- ``boxes`` ``(n, k, 4)``: ``x0, y0, x1, y1`` of the task's ``k`` subjects in pixels of ``scene``,
  upper bounds excluded, zeros where a subject is not shown.

A person has ``keypoints`` and ``object_keypoints`` ``(n, 18, 3)``, in pixels of ``scene`` and of
``object`` (:mod:`spinml.home.keypoints`). Where scenes hold several subjects, the second one (the
photo frame) has ``second_mask``, ``second_object`` and ``second_object_mask`` as the target has
them, black and empty where it is not shown. A shard is complete or absent.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spinml.home.captions import words_of
from spinml.home.cutout import plain_cutout
from spinml.home.scenes import Scene
from spinml.home.tasks import Task, task
from spinml.home.usable import Mask, shown, usable
from spinml.home.worlds import PublicWorld
from spinml.images import bounding_box, cut_out_square

if TYPE_CHECKING:
    from spinml.home.renderer import Frame, Renderer

SHARD_SCENES = 256
SIDE_PX = 128


def shard_path(folder: Path, number: int) -> Path:
    """Where shard ``number`` lies."""
    return folder / f"shard_{number:05d}.npz"


def missing_shards(folder: Path, count: int) -> list[int]:
    """Numbers of the shards that ``count`` scenes need and the folder lacks."""
    total = -(-count // SHARD_SCENES)
    return [n for n in range(total) if not shard_path(folder, n).exists()]


def write_shard(
    renderer: Renderer, world: PublicWorld, folder: Path, number: int, count: int
) -> Path:
    """Render one shard of the first ``count`` scenes and put it in place in one step."""
    first = number * SHARD_SCENES
    rows = [render_row(renderer, world, i) for i in range(first, min(first + SHARD_SCENES, count))]
    arrays: dict[str, Any] = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    path = shard_path(folder, number)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, **arrays)
    temporary.replace(path)
    return path


def render_row(renderer: Renderer, world: PublicWorld, index: int) -> dict[str, Any]:
    """Scene ``index`` in the shard's format, redrawn until its target is well in the picture."""
    for scene in world.candidates(index):
        frame = renderer.render(scene, empty=True)
        if usable(frame, scene.target.name):
            return _row(frame, scene, task(world.task))
    raise RuntimeError(
        f"scene {index} of the public {world.task} world {world.seed} never showed its target well"
    )


def _row(frame: Frame, scene: Scene, of: Task) -> dict[str, Any]:
    if frame.empty is None:
        raise ValueError("a shard needs the empty room: render with empty=True")
    cut, cut_mask = plain_cutout(frame.image, frame.mask, SIDE_PX)
    row = {
        "scene": _shrink(frame.image),
        "mask": _shrink(frame.mask.astype(np.uint8) * 255),
        "room": _shrink(frame.empty),
        "object": cut,
        "object_mask": cut_mask,
        "label": np.uint8(of.labels.index(scene.label)),
        "meta": np.str_(words_of(scene).to_json()),
        "boxes": np.stack([_box(frame.masks.get(name)) for name in of.subjects]),
    }
    if frame.keypoints is not None:
        row |= _keypoints(frame.keypoints, frame.mask)
    if len(of.subjects) > 1:
        row |= _second(frame, of.subjects[1])
    return row


def _box(mask: Mask | None) -> NDArray[np.float32]:
    """The mask's bounding box in pixels of the shard's picture, ``(4,)``; zeros if not shown."""
    if mask is None or not shown(mask):
        return np.zeros(4, np.float32)
    box = np.array(bounding_box(mask)) * (SIDE_PX / mask.shape[0])
    return np.asarray(box, np.float32)


def _keypoints(keypoints: NDArray[np.float32], mask: Mask) -> dict[str, NDArray[np.float32]]:
    """Keypoints in pixels of the scene and of the cut-out, ``(18, 3)`` each."""
    left, top, side = cut_out_square(mask)
    scene, cut = keypoints.copy(), keypoints.copy()
    scene[:, :2] *= SIDE_PX / mask.shape[0]
    cut[:, :2] = (keypoints[:, :2] - (left, top)) * (SIDE_PX / side)
    return {"keypoints": scene, "object_keypoints": cut}


def _second(frame: Frame, name: str) -> dict[str, NDArray[np.uint8]]:
    """Mask and cut-out of the second subject, black and empty where it is not shown."""
    mask = frame.masks.get(name)
    cut = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    cut_mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    if mask is None or not shown(mask):
        return {"second_mask": cut_mask, "second_object": cut, "second_object_mask": cut_mask}
    cut, cut_mask = plain_cutout(frame.image, mask, SIDE_PX)
    return {
        "second_mask": _shrink(mask.astype(np.uint8) * 255),
        "second_object": cut,
        "second_object_mask": cut_mask,
    }


def _shrink(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    small = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
