"""What the device and the report need of a finished run: embeddings, figures, samples (§3.4)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spinml.device.drawing import draw_boxes
from spinml.images import Mask, Photo, cut_out, encode_png, on_plain_ground
from spinml.privacy.background import take_background
from spinml.request import BACKGROUND, TARGET
from spinml.synthesis.dataset import ShardDataset, decode_image, decode_mask
from spinml.training.data import load_images, stratified_split
from spinml.training.embedders import Embedder
from spinml.training.evaluate import evaluate
from spinml.training.model import HISTORY_FILE, load_classifier

SAMPLES_A_CLASS = 8
EMBEDDINGS_FILE, FIGURES_FILE, SAMPLES = "embeddings.npz", "figures.json", "samples"


@dataclass(frozen=True)
class Segments:
    """A synthetic image's two segments, RGB: the object on plain ground, and the rest."""

    target: Photo
    background: Photo


def split_segments(image: Photo, mask: Mask) -> Segments:
    """The segments as the device's: SIM compares like with like.

    The target is the square cut-out on plain ground, at the image's size; the background is the
    image with the object's grown box painted over, as the device does with its own photos.
    """
    target = on_plain_ground(cut_out(image, mask, image.shape[0]))
    return Segments(target, take_background(image, mask, "inpaint").pixels)


def embed_dataset(
    dataset: ShardDataset, embedder: Embedder, at_most: int
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of ``embeddings.npz``.

    Args:
        at_most: images embedded, spread evenly over the dataset.

    Returns:
        ``target`` and ``background``, embeddings ``(n, d)`` of the synthetic segments, and
        ``index`` ``(n,)``, those images' places in the dataset. Where the embedder has a text
        tower also ``prompt_target`` ``(k, d)``, ``prompt_background`` ``(l, d)``, of the prompts
        that were used, each once, and ``empty_prompt`` ``(1, d)`` (table 4d).
    """
    chosen = np.linspace(0, len(dataset) - 1, min(at_most, len(dataset))).round().astype(int)
    segments = []
    for index in chosen:
        row = dataset.row(int(index), ("image", "mask"))
        segments.append(split_segments(decode_image(row["image"]), decode_mask(row["mask"])))
    return {
        TARGET: embedder.images([one.target for one in segments]),
        BACKGROUND: embedder.images([one.background for one in segments]),
        "index": chosen,
    } | _embed_prompts(dataset, embedder)


def _embed_prompts(dataset: ShardDataset, embedder: Embedder) -> dict[str, np.ndarray[Any, Any]]:
    if embedder.texts is None:
        return {}
    rows = list(dataset.rows(("prompt", "background_prompt")))
    return {
        f"prompt_{TARGET}": embedder.texts(sorted({row["prompt"] for row in rows})),
        f"prompt_{BACKGROUND}": embedder.texts(sorted({row["background_prompt"] for row in rows})),
        "empty_prompt": embedder.texts([""]),
    }


def validate(dataset: ShardDataset, model_folder: Path) -> dict[str, Any]:
    """Figures of the stored classifier on the validation images of its own split."""
    classifier, description = load_classifier(model_folder)
    images = load_images(dataset, description.image_px)
    _, held = stratified_split(
        images.labels.tolist(), description.validation_share, description.seed
    )
    return asdict(evaluate(classifier, images.select(held), torch.device("cpu")))


def write_samples(dataset: ShardDataset, out: Path, *, boxes: bool) -> list[dict[str, str]]:
    """The first ``SAMPLES_A_CLASS`` images of each class as PNG; file and label of each.

    Args:
        boxes: whether the object's box is drawn into them.
    """
    (out / SAMPLES).mkdir()
    samples = []
    for number, (label, image) in enumerate(_first_of_each(dataset, boxes=boxes)):
        file = f"{SAMPLES}/{number:03d}.png"
        (out / file).write_bytes(encode_png(image))
        samples.append({"file": file, "label": label})
    return samples


def _first_of_each(dataset: ShardDataset, *, boxes: bool) -> Iterable[tuple[str, Photo]]:
    """Labelled images, class by class."""
    labels = dataset.labels()
    for label, name in enumerate(dataset.classes):
        members = [index for index, other in enumerate(labels) if other == label]
        for index in members[:SAMPLES_A_CLASS]:
            row = dataset.row(index, ("image", "box"))
            image = decode_image(row["image"])
            yield name, draw_boxes(image, [(row["box"], label, "")]) if boxes else image


def collect_figures(
    dataset_folder: Path,
    model_folder: Path,
    validation: Mapping[str, Any],
    samples: Sequence[Any],
) -> dict[str, Any]:
    """Everything the report plots, JSON-able."""
    history = json.loads((model_folder / HISTORY_FILE).read_text())
    return {
        "dataset": json.loads((dataset_folder / "dataset.json").read_text()),
        "history": history["epochs"],
        "best_epoch": history["best_epoch"],
        "validation": dict(validation),
        "samples": list(samples),
    }
