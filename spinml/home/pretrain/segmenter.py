"""Stage `segmenter`: YOLOv8n-seg that finds the tasks' objects in scenes, exported to ONNX.

ultralytics is AGPL-3.0: who deploys the exported model should know.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from spinml.home.fused_yolo import calibrate, fill_fused, onnx_weights, to_batch
from spinml.home.pretrain.loop import Figures, LoopSettings, print_now
from spinml.home.pretrain.renders import CLASSES, NOUN_ORDER, Pixels, Renders, save_grid
from spinml.home.pretrain.workspace import Workspace

NAMES = dict(enumerate(NOUN_ORDER))
SIZE_PX = 192
ARCHITECTURE = "yolov8n-seg.yaml"


def outline(mask: NDArray[np.uint8], number: int) -> list[str]:
    """YOLO's line for a mask's largest part: the class and a polygon in shares of the sides."""
    height, width = mask.shape
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    lines = []
    for contour in sorted(found, key=cv2.contourArea, reverse=True)[:1]:
        if cv2.contourArea(contour) >= 20:
            points = (contour[:, 0] + 0.5) / (width, height)
            lines.append(f"{number} " + " ".join(f"{value:.5f}" for value in points.ravel()))
    return lines


def write_dataset(folder: Path, train: Renders, test: Renders) -> Path:
    """Scenes and empty rooms in YOLO's layout; gives the path of its YAML file."""
    for split, part in (("train", train), ("val", test)):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for rows in part.scenes():
            i = int(rows[0])
            _write(images / f"s{i:05d}.png", part.scene[i])
            lines = [line for row in rows for line in outline(part.mask[row], _number(part, row))]
            (labels / f"s{i:05d}.txt").write_text("\n".join(lines))
            if i % 20 == 0:
                _write(images / f"r{i:05d}.png", part.room[i])
                (labels / f"r{i:05d}.txt").write_text("")
    description = folder / "data.yaml"
    names = [f"  {number}: {name}" for number, name in NAMES.items()]
    lines = [f"path: {folder}", "train: images/train", "val: images/val", "names:", *names]
    description.write_text("\n".join(lines) + "\n")
    return description


def _number(data: Renders, row: int) -> int:
    """The segmenter's class of a row's object."""
    return NOUN_ORDER.index(CLASSES[data.label[row]].noun)


def _write(path: Path, image: Pixels) -> None:
    cv2.imwrite(str(path), image[:, :, ::-1])


def mask_iou(model: Any, data: Renders, logs: Path, size_px: int) -> Figures:
    """Mean intersection over union of each object's surest mask, and the share of objects found.

    Over all objects, and over those of each noun.
    """
    overlaps, found = np.zeros(len(data)), np.zeros(len(data), bool)
    shown: list[Pixels] = []
    for rows in data.scenes():
        image = data.scene[rows[0]]
        result = model.predict(image[:, :, ::-1], imgsz=size_px, verbose=False)[0]
        for row in rows:
            wanted = data.mask[row] > 127
            guess, found[row] = _surest(result, _number(data, row), wanted.shape)
            overlaps[row] = (guess & wanted).sum() / max(1, (guess | wanted).sum())
            if len(shown) < 64:
                red = image // 2 + np.array([127, 0, 0], np.uint8)
                shown.append(np.where(guess[..., None], red, image).astype(np.uint8))
    save_grid(logs / "segmenter.png", np.stack(shown))
    nouns = np.array([CLASSES[label].noun for label in data.label])
    figures = {"mask_iou": float(overlaps.mean()), "found": float(found.mean())}
    for noun in np.unique(nouns):
        name = str(noun).replace(" ", "_")
        figures[f"mask_iou_{name}"] = float(overlaps[nouns == noun].mean())
        figures[f"found_{name}"] = float(found[nouns == noun].mean())
    return figures


def _surest(result: Any, number: int, shape: tuple[int, ...]) -> tuple[NDArray[np.bool_], bool]:
    """The mask of the surest detection of a class, ``shape``, and whether there is one."""
    if result.masks is None:
        return np.zeros(shape, bool), False
    scores = np.where(result.boxes.cls.cpu().numpy() == number, result.boxes.conf.cpu().numpy(), -1)
    best = int(scores.argmax())
    if scores[best] < 0:
        return np.zeros(shape, bool), False
    drawn = result.masks.data[best].cpu().numpy().astype(np.float32)
    return cv2.resize(drawn, shape[::-1]) > 0.5, True


def run(data: Workspace, loop: LoopSettings, size_px: int = SIZE_PX, rows: int = 12000) -> Figures:
    """Train by wall clock (or `loop.steps` epochs), export to ONNX, measure on held-out scenes.

    Starts from an unpacked checkpoint's weights, all but the class scores, if there are some.
    """
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="ultralytics-"))
    os.environ["YOLO_OFFLINE"] = "true"
    from ultralytics import YOLO

    folder = data.folder("segmenter")
    dataset = folder / "dataset" / "data.yaml"
    if not dataset.exists():
        train = data.train.slice(0, rows)
        dataset = write_dataset(folder / "dataset", train, data.test.slice(0, 64))
    last = folder / "run" / "weights" / "last.pt"
    left = _left(loop, folder)
    if left.minutes is None or left.minutes > 0.05:
        begin = last if last.exists() else _start(folder, data.train, size_px)
        _train(YOLO(str(begin)), dataset, left, size_px)
        (folder / "spent.json").write_text(json.dumps({"minutes": loop.minutes or 0}))
    model = YOLO(str(last))
    figures = mask_iou(model, data.test.slice(0, 300), _made(data.logs), size_px)
    _export(model, _made(folder / "model") / "segmenter.onnx", size_px)
    history = [] if loop.minutes is None else [{"minutes": loop.minutes}]
    content = {"stage": "segmenter", "figures": figures, "history": history}
    (data.logs / "segmenter.json").write_text(json.dumps(content, indent=1))
    print_now(f"segmenter: done, {figures}")
    return figures


def _start(folder: Path, data: Renders, size_px: int) -> Path:
    """What an untrained segmenter begins with: an unpacked checkpoint's weights, if there are."""
    exported, start = folder / "model" / "segmenter.onnx", folder / "start.pt"
    if not exported.exists():
        return Path(ARCHITECTURE)
    from ultralytics.nn.tasks import SegmentationModel

    model = SegmentationModel(ARCHITECTURE, nc=len(NAMES), verbose=False)
    filled = fill_fused(model, onnx_weights(exported))
    if not filled:
        raise ValueError(f"{exported} has no weights of {ARCHITECTURE}")
    rows = np.linspace(0, len(data) - 1, min(48, len(data))).astype(int)
    images = [cv2.resize(data.scene[row], (size_px, size_px)) for row in rows]
    calibrate(model, to_batch(np.stack(images)))
    model.names, model.task = NAMES, "segment"
    model.args = {"task": "segment", "model": ARCHITECTURE}
    torch.save({"model": model.train().requires_grad_(True), "train_args": {}}, start)
    return start


def _left(loop: LoopSettings, folder: Path) -> LoopSettings:
    """The budget less what finished trainings in this folder have spent."""
    spent = folder / "spent.json"
    if loop.minutes is None or not spent.exists():
        return loop
    return replace(loop, minutes=loop.minutes - float(json.loads(spent.read_text())["minutes"]))


def _interrupted(last: Path) -> bool:
    """Whether the last training was cut off; ultralytics strips the epoch when one finishes."""
    if not last.exists():
        return False
    return int(torch.load(last, map_location="cpu", weights_only=False)["epoch"]) >= 0


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _train(model: Any, dataset: Path, loop: LoopSettings, size_px: int) -> None:
    """ultralytics' own loop; it saves after each epoch and resumes from there."""
    folder = dataset.parents[1]
    hours = None if loop.minutes is None else loop.minutes / 60
    if loop.bf16:
        model.add_callback("on_train_start", _predict_in_bf16)
    model.train(
        data=str(dataset),
        project=str(folder),
        name="run",
        exist_ok=True,
        resume=_interrupted(folder / "run" / "weights" / "last.pt"),
        time=hours,
        epochs=loop.steps or 100,
        imgsz=size_px,
        batch=16,
        device="cpu",
        workers=1,
        cache="ram",
        optimizer="AdamW",
        lr0=0.002,
        warmup_epochs=0.3,
        mosaic=0.0,
        # A private home's clothes and walls have colours that the public world has not, and its
        # cameras see the whole room: persons are small in it, or cut off by the frame.
        hsv_h=0.5,
        scale=0.7,
        translate=0.25,
        mask_ratio=2,
        val=False,
        plots=False,
        seed=loop.seed,
        verbose=False,
    )


def _predict_in_bf16(trainer: Any) -> None:
    """bfloat16 for the network, float32 for its loss; ultralytics has neither on a CPU."""
    plain = trainer.model.predict

    def predict(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(trainer.device.type, torch.bfloat16):
            return _float32(plain(*args, **kwargs))

    trainer.model.predict = predict


def _float32(outputs: Any) -> Any:
    """Nested tensors in float32."""
    if isinstance(outputs, torch.Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {name: _float32(value) for name, value in outputs.items()}
    if isinstance(outputs, list | tuple):
        return type(outputs)(_float32(value) for value in outputs)
    return outputs


def _export(model: Any, target: Path, size_px: int) -> None:
    """ONNX beside the weights, moved to its place; names and stride are in its metadata."""
    written = model.export(
        format="onnx", imgsz=size_px, dynamic=True, simplify=False, opset=17, device="cpu"
    )
    shutil.move(str(written), target)
