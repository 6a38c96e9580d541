"""Fine-tuning as our processes run it, and with the C library's own handling of freed memory.

``python -m spinml.benchmarks.allocator kept|own CONFIG.json STEPS``: one of the two.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from statistics import median

import typer

from spinml.allocator import keep_freed_memory
from spinml.benchmarks.bench import Bench, Row, in_own_process
from spinml.config import ServerConfig
from spinml.synthesis.dreambooth import finetune

_WAYS = ("kept", "own")


def benchmark_allocator(bench: Bench) -> list[Row]:
    """DreamBooth's steps a second and page faults a step, both ways in turns."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in _WAYS}
    for repeat in range(bench.repeats):
        for way in _WAYS:
            bench.tell(f"allocator: {way}, {repeat + 1} of {bench.repeats}")
            figures = in_own_process(__name__, way, bench.config, str(bench.steps))
            found[way].append(figures)
    rows = []
    for way, name in zip(_WAYS, ("freed memory kept", "freed memory given back"), strict=True):
        rows += [
            Row(f"DreamBooth, {name}", median(f["steps_per_s"] for f in found[way]), "steps/s"),
            Row(f"Page faults, {name}", median(f["faults"] for f in found[way]), "a step"),
        ]
    pairs = zip(found["kept"], found["own"], strict=True)
    gain = median(kept["steps_per_s"] / own["steps_per_s"] for kept, own in pairs)
    return [*rows, Row("DreamBooth, gain of keeping it", gain, "x")]


def measure(way: str, bench: Bench) -> dict[str, float]:
    """Steps a second and page faults a step of a fine-tuning in this process."""
    if way == "kept" and not keep_freed_memory():
        raise RuntimeError("this C library cannot be told to keep freed memory")
    images = bench.references(8)
    settings = bench.config.finetune
    warm_up = settings.model_copy(update={"steps": 2})
    finetune(bench.checkpoint, images, images, warm_up, seed=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    chosen = settings.model_copy(update={"steps": bench.steps})
    speed = finetune(bench.checkpoint, images, images, chosen, seed=0).steps_per_s
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return {"steps_per_s": speed, "faults": faults / bench.steps}


if __name__ == "__main__":
    of, file_name, count = sys.argv[1:]
    given = ServerConfig.model_validate_json(Path(file_name).read_text())
    typer.echo(json.dumps(measure(of, Bench(given, steps=int(count)))))
