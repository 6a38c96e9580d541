"""A target object's drawings as Parquet shards: cut out, or the reason why there is none.

Columns: ``object`` (PNG, RGBA ``(px, px, 4)``; null where every draw was broken), ``prompt``,
``seed`` (of the image that the object is for) and ``draws`` (how often it was drawn). A shard's
figures are in its schema's metadata, as those of a dataset's.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from spinml.errors import ArtifactError
from spinml.images import encode_png
from spinml.synthesis.cutout import CutOut
from spinml.synthesis.dataset import FIGURES_KEY, shard_figures, shard_paths
from spinml.synthesis.shards import ShardSpec

_COLUMNS = pa.schema(
    [
        ("object", pa.binary()),
        ("prompt", pa.string()),
        ("seed", pa.int64()),
        ("draws", pa.int32()),
    ]
)


@dataclass
class DrawnObject:
    """An object for one image.

    Attributes:
        cut_out: None as long as, or because, every draw came out broken.
        prompt: what it is drawn from.
        seed: of its image.
        draws: how often it was drawn.
    """

    prompt: str
    seed: int
    cut_out: CutOut | None = None
    draws: int = 0


def objects_table(objects: Sequence[DrawnObject], figures: Mapping[str, Any]) -> pa.Table:
    """The rows of a shard, with its figures."""
    rows = [
        {
            "object": None if one.cut_out is None else _encoded(one.cut_out),
            "prompt": one.prompt,
            "seed": one.seed,
            "draws": one.draws,
        }
        for one in objects
    ]
    schema = _COLUMNS.with_metadata({FIGURES_KEY: json.dumps(dict(figures)).encode()})
    return pa.Table.from_pylist(rows, schema=schema)


def read_objects(folder: Path, spec: ShardSpec) -> list[DrawnObject]:
    """The objects for the images of ``spec``, in their order.

    Raises:
        ArtifactError: the drawings were made for other images.
    """
    rows = pq.read_table(folder / spec.file_name).to_pylist()
    seeds = [image.seed for image in spec.images]
    if [row["seed"] for row in rows] != seeds:
        raise ArtifactError(
            f"the objects of {spec.file_name} are {len(rows)} of other seeds than the dataset's "
            f"{len(seeds)} images",
            remedy="generate with the settings that they were drawn with",
        )
    return [
        DrawnObject(
            prompt=row["prompt"],
            seed=row["seed"],
            cut_out=None if row["object"] is None else _decoded(row["object"]),
            draws=row["draws"],
        )
        for row in rows
    ]


def summarise_objects(folder: Path) -> dict[str, Any]:
    """Figures of all drawings from their shards' metadata."""
    parts = [shard_figures(path) for path in shard_paths(folder)]
    rejected: Counter[str] = Counter()
    for part in parts:
        rejected.update(part["rejected"])
    sums = {name: sum(part[name] for part in parts) for name in ("objects", "missing", "draws")}
    return {
        "model": parts[0]["model"],
        **sums,
        "rejected": dict(sorted(rejected.items())),
        "worker_seconds": round(sum(part["seconds"] for part in parts), 3),
    }


def _encoded(cut_out: CutOut) -> bytes:
    alpha = (cut_out.alpha * 255).round().astype(np.uint8)
    return encode_png(np.dstack([cut_out.image, alpha]))


def _decoded(png: bytes) -> CutOut:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        pixels = np.array(image.convert("RGBA"))
    return CutOut(pixels[..., :3].copy(), pixels[..., 3].astype(np.float32) / np.float32(255))
