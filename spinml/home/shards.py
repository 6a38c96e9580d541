"""The public world on disk: shards of rendered scenes for the pretraining.

``shard_00000.npz`` holds 256 scenes: ``scene``, ``room`` and ``object`` ``(n, 128, 128, 3)``,
``mask`` and ``object_mask`` ``(n, 128, 128)`` in 0..255, ``label`` ``(n,)`` as an index in
:data:`~spinml.home.poses.STATUSES`, and ``meta`` ``(n,)``, JSON of
:class:`~spinml.home.captions.SceneWords`. A shard is complete or absent.
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
from spinml.home.poses import STATUSES
from spinml.home.worlds import PublicWorld

if TYPE_CHECKING:
    from spinml.home.renderer import Frame, Renderer

SHARD_SCENES = 256
SIDE_PX = 128
MIN_SHARE = 0.025
MAX_AT_BORDER = 0.01


def shard_path(folder: Path, number: int) -> Path:
    """Where shard ``number`` lies."""
    return folder / f"shard_{number:05d}.npz"


def missing_shards(folder: Path, count: int) -> list[int]:
    """Numbers of the shards that ``count`` scenes need and the folder lacks."""
    total = -(-count // SHARD_SCENES)
    return [n for n in range(total) if not shard_path(folder, n).exists()]


def usable(mask: NDArray[np.bool_]) -> bool:
    """Whether the dog is large enough and hardly cut off by the frame."""
    area = int(mask.sum())
    if area < MIN_SHARE * mask.size:
        return False
    rim = int(mask[0].sum() + mask[-1].sum() + mask[1:-1, 0].sum() + mask[1:-1, -1].sum())
    return rim <= MAX_AT_BORDER * area


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
    """Scene ``index`` in the shard's format, redrawn until the dog is well in the picture."""
    for scene in world.candidates(index):
        frame = renderer.render(scene, empty=True)
        if usable(frame.mask):
            return _row(frame, STATUSES.index(scene.status), words_of(scene).to_json())
    raise RuntimeError(f"scene {index} of public world {world.seed} never showed its dog well")


def _row(frame: Frame, label: int, meta: str) -> dict[str, Any]:
    if frame.empty is None:
        raise ValueError("a shard needs the empty room: render with empty=True")
    cut, cut_mask = plain_cutout(frame.image, frame.mask, SIDE_PX)
    mask = frame.mask.astype(np.uint8) * 255
    return {
        "scene": _shrink(frame.image),
        "mask": _shrink(mask),
        "room": _shrink(frame.empty),
        "object": cut,
        "object_mask": cut_mask,
        "label": np.uint8(label),
        "meta": np.str_(meta),
    }


def _shrink(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    small = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
