"""Which images a dataset has and how they are split into shards; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spinml.synthesis.seeds import derive_seed


@dataclass(frozen=True)
class ImageSpec:
    """One image of the dataset: its class (an index into ``label_classes``) and its seed."""

    label: int
    seed: int


@dataclass(frozen=True)
class ShardSpec:
    """The images of one shard, in order."""

    index: int
    images: tuple[ImageSpec, ...]

    @property
    def file_name(self) -> str:
        return f"shard-{self.index:05d}.parquet"


def plan_shards(params: Mapping[str, Any]) -> list[ShardSpec]:
    """The shards of a DRAW or GENERATE stage, fixed by its parameters alone.

    Those of a dataset and of its objects' drawings have the same seeds. Classes alternate, so that
    every shard is as balanced as the dataset.

    Args:
        params: of the stage: ``label_classes`` (none: every label is 0), ``images``, ``seed`` and
            ``settings.shard_size``.
    """
    classes = max(1, len(params["label_classes"]))
    total, size = int(params["images"]), int(params["settings"]["shard_size"])
    images = [
        ImageSpec(number % classes, derive_seed(params["seed"], "image", number))
        for number in range(total)
    ]
    starts = range(0, total, size)
    return [
        ShardSpec(index, tuple(images[start : start + size])) for index, start in enumerate(starts)
    ]
