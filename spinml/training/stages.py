"""The last stages of a run: TRAIN (in this process), EXPORT and MEASURE."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np

from spinml.config import MeasureConfig, TrainingConfig
from spinml.pipeline.stages import StageContext
from spinml.synthesis.dataset import ShardDataset, dataset_folders
from spinml.training.classifier import Hooks, fit, save_trained
from spinml.training.data import load_images
from spinml.training.detector_stages import export_trained, train_detector, validate_detector
from spinml.training.embedders import load_embedder
from spinml.training.export import check_onnx, export_onnx
from spinml.training.measure import (
    EMBEDDINGS_FILE,
    FIGURES_FILE,
    collect_figures,
    embed_dataset,
    validate,
    write_samples,
)
from spinml.training.model import ONNX_FILE, load_classifier

_CHECKED_IMAGES = 16


def run_train_local(context: StageContext) -> dict[str, Any]:
    """TRAIN in this process: "dataset", "dataset_2", … → the specialised model's files.

    See :func:`spinml.training.classifier.save_trained`, and of a detection run
    :func:`spinml.training.detector_stages.train_detector`.
    """
    if context.stage.detects:
        return train_detector(context)
    settings = TrainingConfig.model_validate(context.params["settings"])
    dataset = ShardDataset(*dataset_folders(context.inputs))
    began = time.monotonic()
    trained = fit(dataset, settings, context.params["seed"], Hooks(progress=context.progress))
    figures = save_trained(trained, context.out)
    seconds = time.monotonic() - began
    return figures | {"images_per_s": round(len(dataset) * settings.epochs / seconds, 2)}


def run_export(context: StageContext) -> dict[str, Any]:
    """EXPORT: "model" → ``model.onnx``, checked against torch on images of the datasets.

    Raises:
        StageError: the file and torch disagree.
    """
    if context.stage.detects:
        return export_trained(context)
    classifier, description = load_classifier(context.inputs["model"])
    path = context.out / ONNX_FILE
    export_onnx(classifier, description, path)
    dataset = ShardDataset(*dataset_folders(context.inputs))
    some = range(min(_CHECKED_IMAGES, len(dataset)))
    images = load_images(dataset, description.image_px, some)
    pixels = images.pixels.permute(0, 2, 3, 1).contiguous().numpy()
    difference = check_onnx(path, classifier, pixels)
    return {"bytes": path.stat().st_size, "largest_difference": difference}


def run_measure(context: StageContext) -> dict[str, Any]:
    """MEASURE (§3.4): the datasets and "model" → embeddings, figures and samples.

    ``embeddings.npz`` is as :func:`spinml.training.measure.embed_dataset` says, ``figures.json``
    as :func:`spinml.training.measure.collect_figures`; ``samples/`` holds PNGs.
    """
    settings = MeasureConfig.model_validate(context.params["settings"])
    folders = dataset_folders(context.inputs)
    dataset = ShardDataset(*folders)
    embedder = load_embedder(context.config)
    context.progress(0, 3, "parts")
    arrays = embed_dataset(dataset, embedder, settings.max_embeddings)
    # mypy takes any of the names for savez' own option allow_pickle.
    np.savez(context.out / EMBEDDINGS_FILE, **arrays)  # type: ignore[arg-type]
    context.progress(1, 3, "parts")
    if context.stage.detects:
        validation = validate_detector(folders, context.inputs["model"])
    else:
        validation = validate(dataset, context.inputs["model"])
    context.progress(2, 3, "parts")
    samples = write_samples(dataset, context.out, boxes=context.stage.detects)
    figures = collect_figures(folders, context.inputs["model"], validation, samples)
    figures["embedder"] = settings.embedder
    (context.out / FIGURES_FILE).write_text(json.dumps(figures, indent=2))
    context.progress(3, 3, "parts")
    utility = "map50" if context.stage.detects else "accuracy"
    return {"embeddings": len(arrays["index"]), f"validation_{utility}": validation[utility]}
