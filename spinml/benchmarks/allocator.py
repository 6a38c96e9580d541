"""Classifier training as our processes run it, and with the C library's own way with freed memory.

``python -m spinml.benchmarks.allocator kept|own CONFIG.json STEPS``: one of the two.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
import typer

from spinml.allocator import keep_freed_memory
from spinml.benchmarks.bench import Bench, Row, in_own_process
from spinml.config import ServerConfig, TrainingConfig
from spinml.synthesis.compute import Compute, computes_bfloat16, select_device
from spinml.training.backbones import load_backbone
from spinml.training.model import Classifier

_WAYS = {"kept": "freed memory kept", "own": "freed memory given back"}
_BATCH, _CLASSES, _WARM_UP = 10, 4, 2
"""As few images as an epoch's steps have on a laptop."""


def benchmark_allocator(bench: Bench) -> list[Row]:
    """The classifier's steps a second and page faults a step, both ways in turns."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in _WAYS}
    for repeat in range(bench.repeats):
        for way in _WAYS:
            bench.tell(f"allocator: {_WAYS[way]}, {repeat + 1} of {bench.repeats}")
            figures = in_own_process(__name__, way, bench.config, str(bench.steps))
            found[way].append(figures)
    rows = []
    for way, name in _WAYS.items():
        rows += [
            Row(f"Classifier, {name}", median(f["steps_per_s"] for f in found[way]), "steps/s"),
            Row(f"Page faults, {name}", median(f["faults"] for f in found[way]), "a step"),
        ]
    pairs = zip(found["kept"], found["own"], strict=True)
    gain = median(kept["steps_per_s"] / own["steps_per_s"] for kept, own in pairs)
    return [*rows, Row("Classifier, gain of keeping it", gain, "x")]


def measure(way: str, settings: TrainingConfig, steps: int) -> dict[str, float]:
    """Steps a second and page faults a step of a classifier's training in this process."""
    if way == "kept" and not keep_freed_memory():
        raise RuntimeError("this C library cannot be told to keep freed memory")
    device = select_device("auto")
    dtype = torch.bfloat16 if computes_bfloat16(device) else torch.float32
    compute = Compute(device, dtype)
    backbone = load_backbone(settings.backbone, settings.weights)
    model = Classifier(backbone, _CLASSES, settings.frozen_share).to(device)
    model = model.to(memory_format=torch.channels_last).train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate)
    pixels = torch.rand(_BATCH, 3, settings.image_px, settings.image_px, device=device)
    labels = torch.arange(_BATCH, device=device) % _CLASSES

    def step() -> None:
        with compute.autocast():
            logits = model(pixels)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    for _ in range(_WARM_UP):
        step()
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(steps):
        step()
    float(trained[-1].sum())  # a GPU is waited for
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return {"steps_per_s": steps / (time.monotonic() - began), "faults": faults / steps}


if __name__ == "__main__":
    of, file_name, count = sys.argv[1:]
    given = ServerConfig.model_validate_json(Path(file_name).read_text())
    typer.echo(json.dumps(measure(of, given.training, int(count))))
