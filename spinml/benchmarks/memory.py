"""Peak memory of stages; ``python -m spinml.benchmarks.memory STAGE CONFIG.json``: of one."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import typer

from spinml.benchmarks.bench import Bench, Row
from spinml.benchmarks.diffusion import images_per_s
from spinml.config import ServerConfig
from spinml.synthesis.dreambooth import finetune

MEMORY_STAGES = ("load", "finetune", "generate")


def benchmark_memory(bench: Bench) -> list[Row]:
    """Peak resident memory of each stage, each in a process of its own."""
    rows = []
    for stage in MEMORY_STAGES:
        bench.tell(f"memory: {stage}")
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(bench.config.model_dump_json())
            file.flush()
            command = [sys.executable, "-m", "spinml.benchmarks.memory", stage, file.name]
            out = subprocess.run(  # noqa: S603 - our own program
                command, check=True, stdout=subprocess.PIPE, text=True
            ).stdout  # what it says on stderr, such as why it failed, is seen
        peak_gib = json.loads(out.splitlines()[-1])["peak_gib"]
        rows.append(Row(f"Peak memory, {stage}", peak_gib, "GiB", "≤ 8", peak_gib <= 8))
    return rows


def memory_of(stage: str, bench: Bench) -> float:
    """GiB that this process held at most, after doing a little of ``stage``."""
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
