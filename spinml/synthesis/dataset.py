"""The synthetic dataset: Parquet shards with images, labels, boxes, masks, prompts and models.

Columns of a shard (Hugging Face's ``datasets`` and any Parquet reader open it):

==================  =========================================================================
image               struct {bytes: PNG, path: null}; RGB ``(px, px, 3)``
label, label_name   the image's class: index into ``label_classes``, and its name
boxes               of each object ``[x0, y0, x1, y1]`` of its visible part in pixels, the end
                    exclusive
box_labels          of each object its index in the request's target objects
masks               of each object its visible part: struct as ``image``, 0 or 255 ``(px, px)``
prompts             of each object what it was drawn from
target_models       of each object the digest of its fine-tuned UNet's stage, or
                    ``base:<checkpoint>``
background_prompt   what the background was painted from
background_model    digest of the merged inpainting UNet's stage, or ``base:<checkpoint>``
seed                of the image; with the models it fixes every pixel
draws               how often its objects were drawn until all were whole
==================  =========================================================================

Each image shows every target object once; later ones may partly hide earlier ones.

A shard's figures (rejected objects by reason, seconds) are in its schema's metadata.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image
from torch.utils.data import Dataset

from spinml.errors import ArtifactError
from spinml.images import Mask, Photo
from spinml.pipeline.planner import dataset_roles
from spinml.synthesis.seeds import derive_seed

SHARDS = "shard-*.parquet"
FIGURES_KEY = b"spinml.figures"
_IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_ROWS_A_GROUP = 16
_MADE_BY = ("target_models", "background_model")
_YOLO_VALIDATION = 0.2


def shard_schema(label_classes: Sequence[str], figures: Mapping[str, Any]) -> pa.Schema:
    """The columns above, with the metadata that makes ``datasets`` decode them."""
    columns = pa.schema(
        [
            ("image", _IMAGE_TYPE),
            ("label", pa.int64()),
            ("label_name", pa.string()),
            ("boxes", pa.list_(pa.list_(pa.float32()))),
            ("box_labels", pa.list_(pa.int32())),
            ("masks", pa.list_(_IMAGE_TYPE)),
            ("prompts", pa.list_(pa.string())),
            ("target_models", pa.list_(pa.string())),
            ("background_prompt", pa.string()),
            ("background_model", pa.string()),
            ("seed", pa.int64()),
            ("draws", pa.int32()),
        ]
    )
    return columns.with_metadata(
        {
            b"huggingface": json.dumps({"info": {"features": _features(label_classes)}}).encode(),
            FIGURES_KEY: json.dumps(dict(figures)).encode(),
        }
    )


def _features(label_classes: Sequence[str]) -> dict[str, Any]:
    image: dict[str, Any] = {"_type": "Image"}
    return {
        "image": image,
        "label": {"names": list(label_classes), "_type": "ClassLabel"},
        "boxes": _list_of(_list_of(_value("float32"))),
        "box_labels": _list_of(_value("int32")),
        "masks": _list_of(image),
        "seed": _value("int64"),
        "draws": _value("int32"),
        **dict.fromkeys(("prompts", "target_models"), _list_of(_value("string"))),
        **dict.fromkeys(("label_name", "background_prompt", "background_model"), _value("string")),
    }


def _value(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "_type": "Value"}


def _list_of(feature: dict[str, Any]) -> dict[str, Any]:
    return {"feature": feature, "_type": "List"}


def write_shard(table: pa.Table, path: Path) -> None:
    """Write ``table`` to ``path``, which is whole or not there."""
    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial, row_group_size=_ROWS_A_GROUP, compression="zstd")
    partial.replace(path)


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a dataset, in order.

    Raises:
        ArtifactError: there are none.
    """
    paths = sorted(folder.glob(SHARDS))
    if not paths:
        raise ArtifactError("a dataset has no shards", remedy="generate it again")
    return paths


def shard_figures(path: Path) -> dict[str, Any]:
    """What the generator wrote about a shard; reads the file's footer alone."""
    figures: dict[str, Any] = json.loads(pq.read_schema(path).metadata[FIGURES_KEY])
    return figures


def label_classes(folder: Path) -> list[str]:
    """The classes of a dataset, in the order of ``label``."""
    classes: list[str] = shard_figures(shard_paths(folder)[0])["label_classes"]
    return classes


def target_objects(folder: Path) -> list[str]:
    """The target objects of a dataset, in the order of ``box_labels``."""
    objects: list[str] = shard_figures(shard_paths(folder)[0])["target_objects"]
    return objects


def dataset_folders(inputs: Mapping[str, Path]) -> list[Path]:
    """The datasets among a stage's inputs: one, or those of a mixture in their order."""
    return [inputs[role] for role in dataset_roles(inputs)]


def summarise(folder: Path) -> dict[str, Any]:
    """Figures of the whole dataset from its shards' metadata: counts, rejected, draws, seconds."""
    parts = [shard_figures(path) for path in shard_paths(folder)]
    classes = parts[0]["label_classes"]
    counts: Counter[str] = Counter(dict.fromkeys(classes, 0))
    rejected: Counter[str] = Counter()
    for part in parts:
        counts.update(part["counts"])
        rejected.update(part["rejected"])
    return {
        **{name: parts[0][name] for name in ("target_objects", *_MADE_BY)},
        "label_classes": classes,
        "images": sum(counts.values()),
        "counts": dict(counts),
        "rejected": dict(sorted(rejected.items())),
        "draws": sum(part["draws"] for part in parts),
        "left_out": sum(part["left_out"] for part in parts),
        "shards": len(parts),
        "worker_seconds": round(sum(part["seconds"] for part in parts), 3),
    }


class ShardDataset(Dataset[tuple[Photo, int]]):
    """Images ``(px, px, 3)`` uint8 with labels, read from memory-mapped shards when asked for.

    Reading in order decodes each row group once; shuffling is cheaper on what is already decoded.

    Args:
        folder: of a dataset.
        more: of further datasets of the same classes and objects, one after the other: a mixture.
    """

    def __init__(self, folder: Path, *more: Path) -> None:
        self.paths = [path for part in (folder, *more) for path in shard_paths(part)]
        self.classes = label_classes(folder)
        self.objects = target_objects(folder)
        self._groups: list[tuple[int, int]] = []
        """Shard and row group of every block of rows."""
        self._starts: list[int] = [0]
        for shard, path in enumerate(self.paths):
            metadata = pq.read_metadata(path)
            for group in range(metadata.num_row_groups):
                self._groups.append((shard, group))
                self._starts.append(self._starts[-1] + metadata.row_group(group).num_rows)

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> tuple[Photo, int]:
        row = self.row(index, ("image", "label"))
        return decode_image(row["image"]), int(row["label"])

    def row(self, index: int, columns: tuple[str, ...] | None = None) -> dict[str, Any]:
        """The row at ``index`` as Python objects; images stay PNG bytes."""
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of a dataset of {len(self)}")
        block = int(np.searchsorted(self._starts, index, side="right")) - 1
        shard, group = self._groups[block]
        table = _row_group(self.paths[shard], group, columns)
        found: dict[str, Any] = table.slice(index - self._starts[block], 1).to_pylist()[0]
        return found

    def rows(self, columns: tuple[str, ...] | None = None) -> Iterator[dict[str, Any]]:
        """All rows in order."""
        return (self.row(index, columns) for index in range(len(self)))

    def labels(self) -> list[int]:
        """Every row's label, without decoding an image."""
        return [int(row["label"]) for row in self.rows(("label",))]

    def seeds(self) -> list[int]:
        """Every row's seed; the parts of a mixture have the same ones."""
        return [int(row["seed"]) for row in self.rows(("seed",))]


@lru_cache(maxsize=4)
def _row_group(path: Path, group: int, columns: tuple[str, ...] | None) -> pa.Table:
    with pq.ParquetFile(path, memory_map=True) as shard:
        return shard.read_row_group(group, columns=None if columns is None else list(columns))


def decode_image(cell: Mapping[str, Any]) -> Photo:
    """The RGB pixels ``(px, px, 3)`` of an ``image`` cell."""
    with Image.open(io.BytesIO(cell["bytes"]), formats=("PNG",)) as image:
        return np.array(image.convert("RGB"))


def decode_mask(cell: Mapping[str, Any]) -> Mask:
    """An object's mask ``(px, px)`` of a ``masks`` cell."""
    with Image.open(io.BytesIO(cell["bytes"]), formats=("PNG",)) as image:
        return np.array(image.convert("L")) > 127


def export_image_folder(folder: Path, out: Path) -> None:
    """Write ``out/<label>/<number>.png``: torchvision's and Hugging Face's image-folder layout."""
    for number, row in enumerate(ShardDataset(folder).rows(("image", "label_name"))):
        target = out / _file_name(row["label_name"])
        target.mkdir(parents=True, exist_ok=True)
        (target / f"{number:05d}.png").write_bytes(row["image"]["bytes"])


def export_yolo(
    folder: Path,
    out: Path,
    *,
    validation_share: float = _YOLO_VALIDATION,
    more: Sequence[Path] = (),
) -> None:
    """Write Ultralytics' detection layout: ``data.yaml``, ``images/`` and ``labels/``.

    Each image has one line ``class x y width height`` for each object: its place among the target
    objects, centre and size as shares of the image. Which images validate is fixed by their seeds.

    Args:
        more: further datasets of a mixture, whose images stand behind those of ``folder``.
    """
    dataset = ShardDataset(folder, *more)
    for part in ("train", "val"):
        (out / "images" / part).mkdir(parents=True, exist_ok=True)
        (out / "labels" / part).mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(dataset.rows(("image", "boxes", "box_labels", "seed"))):
        validates = derive_seed(row["seed"], "yolo") % 1000 < validation_share * 1000
        part = "val" if validates else "train"
        with Image.open(io.BytesIO(row["image"]["bytes"]), formats=("PNG",)) as image:
            width, height = image.size
        objects = zip(row["box_labels"], row["boxes"], strict=True)
        lines = [_yolo_line(label, box, width, height) for label, box in objects]
        (out / "images" / part / f"{number:05d}.png").write_bytes(row["image"]["bytes"])
        (out / "labels" / part / f"{number:05d}.txt").write_text("".join(lines))
    (out / "data.yaml").write_text(_yolo_description(dataset.objects), encoding="utf-8")


def _yolo_line(label: int, box: Sequence[float], width: int, height: int) -> str:
    x0, y0, x1, y1 = box
    centre = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height)
    size = ((x1 - x0) / width, (y1 - y0) / height)
    return f"{label} {' '.join(f'{share:.6f}' for share in (*centre, *size))}\n"


def _yolo_description(classes: Sequence[str]) -> str:
    content = {"path": ".", "train": "images/train", "val": "images/val"}
    return yaml.safe_dump(content | {"names": dict(enumerate(classes))}, sort_keys=False)


def _file_name(words: str) -> str:
    """A class as a folder's name; the request allows slashes and dots in it."""
    return "".join(letter if letter.isalnum() or letter in " -_" else "_" for letter in words)
