"""What the device and the report need of a finished run: embeddings, figures, samples (§3.4)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spinml.device.drawing import draw_boxes
from spinml.images import Mask, Photo, cut_out, encode_png, on_plain_ground
from spinml.preference import BACKGROUND, OBJECT_SEGMENTS
from spinml.privacy.background import take_background
from spinml.synthesis.dataset import ShardDataset, decode_image, decode_mask
from spinml.training.data import load_images, split_rows
from spinml.training.embedders import Embedder
from spinml.training.evaluate import evaluate
from spinml.training.model import HISTORY_FILE, load_classifier

SAMPLES_A_CLASS = 8
EMBEDDINGS_FILE, FIGURES_FILE, SAMPLES = "embeddings.npz", "figures.json", "samples"


def split_segments(image: Photo, masks: Sequence[Mask]) -> dict[str, Photo]:
    """The segments as the device's, RGB, by name: SIM compares like with like.

    A target object is the square cut-out on plain ground, at the image's size; the background is
    the image with the objects' grown boxes painted over, as the device does with its own photos.

    Args:
        masks: of all target objects, in their order.
    """
    objects = zip(OBJECT_SEGMENTS, masks, strict=False)
    return {
        name: on_plain_ground(cut_out(image, mask, image.shape[0])) for name, mask in objects
    } | {BACKGROUND: take_background(image, masks, "inpaint").pixels}


def embed_dataset(
    dataset: ShardDataset, embedder: Embedder, at_most: int
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of ``embeddings.npz``.

    Args:
        at_most: images embedded, spread evenly over the dataset.

    Returns:
        By segment (``target``, ``target_2``, …, ``background``) embeddings ``(n, d)`` of the
        synthetic segments, and ``index`` ``(n,)``, those images' places in the dataset. Where the
        embedder has a text tower also ``prompt_target`` ``(k, d)`` and so on, of the prompts that
        were used, each once, and ``empty_prompt`` ``(1, d)`` (table 4d).
    """
    chosen = np.linspace(0, len(dataset) - 1, min(at_most, len(dataset))).round().astype(int)
    segments: dict[str, list[Photo]] = {}
    for index in chosen:
        row = dataset.row(int(index), ("image", "masks"))
        masks = [decode_mask(cell) for cell in row["masks"]]
        for name, image in split_segments(decode_image(row["image"]), masks).items():
            segments.setdefault(name, []).append(image)
    return (
        {name: embedder.images(images) for name, images in segments.items()}
        | {"index": chosen}
        | _embed_prompts(dataset, embedder)
    )


def _embed_prompts(dataset: ShardDataset, embedder: Embedder) -> dict[str, np.ndarray[Any, Any]]:
    if embedder.texts is None:
        return {}
    prompts: dict[str, set[str]] = {}
    for row in dataset.rows(("prompts", "background_prompt")):
        of_objects = zip(OBJECT_SEGMENTS, row["prompts"], strict=False)
        for name, prompt in (*of_objects, (BACKGROUND, row["background_prompt"])):
            prompts.setdefault(name, set()).add(prompt)
    embedded = {f"prompt_{name}": embedder.texts(sorted(used)) for name, used in prompts.items()}
    return embedded | {"empty_prompt": embedder.texts([""])}


def validate(dataset: ShardDataset, model_folder: Path) -> dict[str, Any]:
    """Figures of the stored classifier on the validation images of its own split."""
    classifier, description = load_classifier(model_folder)
    _, held = split_rows(dataset, description.validation_share, description.seed)
    images = load_images(dataset, description.image_px, held)
    return asdict(evaluate(classifier, images, torch.device("cpu")))


def write_samples(dataset: ShardDataset, out: Path, *, boxes: bool) -> list[dict[str, str]]:
    """``SAMPLES_A_CLASS`` images of each class as PNG; file and label of each.

    Args:
        boxes: whether the objects' boxes are drawn into them.
    """
    (out / SAMPLES).mkdir()
    samples = []
    for number, (label, image) in enumerate(_some_of_each(dataset, boxes=boxes)):
        file = f"{SAMPLES}/{number:03d}.png"
        (out / file).write_bytes(encode_png(image))
        samples.append({"file": file, "label": label})
    return samples


def _some_of_each(dataset: ShardDataset, *, boxes: bool) -> Iterable[tuple[str, Photo]]:
    """Labelled images, class by class, evenly over the dataset: a mixture has several parts."""
    labels = dataset.labels()
    for label, name in enumerate(dataset.classes):
        members = [index for index, other in enumerate(labels) if other == label]
        for index in members[:: -(-len(members) // SAMPLES_A_CLASS) or 1]:
            row = dataset.row(index, ("image", "boxes", "box_labels"))
            image = decode_image(row["image"])
            found = [(box, of, "") for box, of in zip(row["boxes"], row["box_labels"], strict=True)]
            yield name, draw_boxes(image, found) if boxes else image


def collect_figures(
    datasets: Sequence[Path],
    model_folder: Path,
    validation: Mapping[str, Any],
    samples: Sequence[Any],
) -> dict[str, Any]:
    """Everything the report plots, JSON-able.

    Args:
        datasets: the folder of each dataset, in the order of the request's preferences.
    """
    history = json.loads((model_folder / HISTORY_FILE).read_text())
    return {
        "datasets": [json.loads((folder / "dataset.json").read_text()) for folder in datasets],
        "history": history["epochs"],
        "best_epoch": history["best_epoch"],
        "validation": dict(validation),
        "samples": list(samples),
    }
