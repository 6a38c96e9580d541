"""TRAIN, EXPORT and MEASURE of a detection run (§4.3, B.2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spinml.config import DetectionConfig
from spinml.pipeline.scratch import scratch
from spinml.pipeline.stages import StageContext
from spinml.synthesis.dataset import ShardDataset, dataset_folders
from spinml.training.detector import (
    DetectionEpoch,
    DetectorHooks,
    TrainedDetector,
    fit_detector,
    pack_run,
    unpack_run,
)
from spinml.training.detector_data import sample_images, write_detection_data
from spinml.training.detector_export import check_detector, export_detector
from spinml.training.detector_model import load_saved_detector, save_detector
from spinml.training.model import ONNX_FILE, write_history
from spinml.training.yolo import ultralytics

_CHECKED_IMAGES = 16


def train_detector(
    context: StageContext, report: Callable[[DetectionEpoch], None] = lambda epoch: None
) -> dict[str, Any]:
    """TRAIN: the datasets → ``model.safetensors``, ``model.json`` and ``history.json``.

    Each whole epoch is kept, and the next attempt goes on from it.
    """
    settings = DetectionConfig.model_validate(context.params["settings"])
    began = time.monotonic()
    with scratch("detector") as folder:
        work, kept = folder / "work", folder / "kept.tar"
        work.mkdir()
        if context.kept.restore(kept):
            unpack_run(kept, work)

        def keep(epoch: DetectionEpoch) -> None:
            pack_run(work, kept)
            context.kept.keep(kept)
            report(epoch)

        hooks = DetectorHooks(report=keep, progress=context.progress)
        datasets = dataset_folders(context.inputs)
        trained = fit_detector(datasets, settings, context.params["seed"], work, hooks)
    figures = save_trained_detector(trained, context.out)
    images = len(ShardDataset(*datasets)) * settings.epochs
    return figures | {"images_per_s": round(images / (time.monotonic() - began), 2)}


def save_trained_detector(trained: TrainedDetector, out: Path) -> dict[str, Any]:
    """Write the model and ``history.json``; the stage's figures."""
    save_detector(out, trained.state, trained.description)
    figures = write_history(out, trained.history, trained.best_epoch)
    return figures | {"validation_map50": trained.best.validation_map50}


def export_trained(context: StageContext) -> dict[str, Any]:
    """EXPORT: "model" → ``model.onnx``, checked against torch on images of the datasets.

    Raises:
        StageError: the file and torch disagree.
    """
    model, description = load_saved_detector(context.inputs["model"])
    path = context.out / ONNX_FILE
    export_detector(model, description, path)
    with scratch("detector") as folder:
        share = description.validation_share
        data = write_detection_data(dataset_folders(context.inputs), folder, share)
        images = sample_images(data.validation, description.image_px, _CHECKED_IMAGES)
    return {"bytes": path.stat().st_size} | check_detector(path, model, list(images))


def validate_detector(datasets: Sequence[Path], model_folder: Path) -> dict[str, Any]:
    """The stored detector on the validation images of its own split.

    Returns:
        ``map50``; ``precision`` and ``recall`` where their harmonic mean is best, over classes; and
        ``per_class``, by name, of ``objects`` and ``ap50``.
    """
    model, description = load_saved_detector(model_folder)
    ultralytics()
    from ultralytics.models.yolo.detect import DetectionValidator

    with scratch("detector") as layout:
        data = write_detection_data(datasets, layout / "data", description.validation_share)
        options = {
            "data": str(data.description),
            "imgsz": description.image_px,
            "device": "cpu",
            "workers": 0,
            "plots": False,
            "verbose": False,
        }
        validator = DetectionValidator(args=options, save_dir=layout / "validation")
        validator(model=model)
    box, objects = validator.metrics.box, validator.metrics.nt_per_class
    return {
        "map50": float(box.map50),
        "precision": float(box.mp),
        "recall": float(box.mr),
        "per_class": {
            description.classes[index]: {"objects": int(objects[index]), "ap50": float(ap50)}
            for index, ap50 in zip(box.ap_class_index, box.ap50, strict=True)
        },
    }
