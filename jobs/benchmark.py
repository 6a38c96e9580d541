"""Speed of SpinML's parts on this machine, as a table or as JSON.

    python jobs/benchmark.py --config cluster/laptop.yaml
    python jobs/benchmark.py --json finetune
    python jobs/benchmark.py service

What is measured just now is told on stderr; stdout has the result alone. A new benchmark
(:mod:`spinml.benchmarks`) is to be listed in ``BENCHMARKS``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from spinml.benchmarks.allocator import benchmark_allocator
from spinml.benchmarks.bench import Bench, Row
from spinml.benchmarks.diffusion import benchmark_finetune, benchmark_sampling
from spinml.benchmarks.memory import benchmark_memory
from spinml.benchmarks.on_ray import benchmark_ray
from spinml.benchmarks.output import nothing_on_stdout
from spinml.benchmarks.preview import benchmark_preview
from spinml.benchmarks.service import benchmark_service
from spinml.benchmarks.sweep import benchmark_sweep
from spinml.config import load_config
from spinml.errors import SpinMLError

BENCHMARKS: dict[str, Callable[[Bench], Sequence[Row]]] = {
    "finetune": benchmark_finetune,
    "allocator": benchmark_allocator,
    "sampling": benchmark_sampling,
    "memory": benchmark_memory,
    "preview": benchmark_preview,
    "ray": benchmark_ray,
    "sweep": benchmark_sweep,
    "service": benchmark_service,
}


def _print_table(rows: Sequence[Row]) -> None:
    table = Table("what", "measured", "wanted", "")
    for row in rows:
        mark = "" if row.met is None else "yes" if row.met else "NO"
        table.add_row(row.name, f"{row.value:.2f} {row.unit}", row.wanted, mark)
    Console().print(table)


def main(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME…", help=f"{', '.join(BENCHMARKS)}; or all")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML; default: the defaults")] = None,
    only: Annotated[list[str] | None, typer.Option(help="The same as NAME.")] = None,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    steps: Annotated[int, typer.Option(min=1, help="DreamBooth steps a measurement")] = 10,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Measure and print."""
    console = Console(stderr=True)
    bench = Bench(
        load_config(config),
        repeats,
        steps,
        tell=lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True),
    )
    chosen = list(dict.fromkeys([*(names or ()), *(only or ())])) or list(BENCHMARKS)
    unknown = sorted(set(chosen) - set(BENCHMARKS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    with nothing_on_stdout():
        rows = [row for name in chosen for row in BENCHMARKS[name](bench)]
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        _print_table(rows)


if __name__ == "__main__":
    try:
        typer.run(main)
    except SpinMLError as error:
        sys.exit(f"{type(error).__name__}: {error}")
