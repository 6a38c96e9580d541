"""Peak memory of stages; ``python -m spinml.benchmarks.memory STAGE CONFIG.json``: of one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer

from spinml.allocator import keep_freed_memory
from spinml.benchmarks.bench import Bench, Row, in_own_process
from spinml.benchmarks.diffusion import images_per_s
from spinml.config import ServerConfig
from spinml.synthesis.dreambooth import finetune

MEMORY_STAGES = ("load", "finetune", "generate")


def benchmark_memory(bench: Bench) -> list[Row]:
    """Peak resident memory of each stage, each in a process of its own."""
    rows = []
    for stage in MEMORY_STAGES:
        bench.tell(f"memory: {stage}")
        peak_gib = in_own_process(__name__, stage, bench.config)["peak_gib"]
        rows.append(Row(f"Peak memory, {stage}", peak_gib, "GiB", "≤ 8", peak_gib <= 8))
    return rows


def memory_of(stage: str, bench: Bench) -> float:
    """GiB that this process held at most, after doing a little of ``stage`` as workers do it."""
    keep_freed_memory()
    _ = bench.checkpoint
    if stage == "finetune":
        settings = bench.config.finetune.model_copy(update={"steps": 2})
        images = bench.references(8)
        finetune(bench.checkpoint, images, images, settings, seed=0)
    elif stage == "generate":
        batch_size = bench.config.generation.batch_size
        images_per_s(bench, batch_size, batch_size)
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    peak_kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak_kib) / 2**20


if __name__ == "__main__":
    of, file_name = sys.argv[1:]
    given = Bench(ServerConfig.model_validate_json(Path(file_name).read_text()))
    typer.echo(json.dumps({"peak_gib": memory_of(of, given)}))
