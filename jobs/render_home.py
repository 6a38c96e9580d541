"""Renders the simulated home: shards of the public world, and private homes as photo folders."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("LP_NUM_THREADS", "1")

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)

Seed = Annotated[int, typer.Option(help="Every scene follows from this number and its index.")]
Out = Annotated[Path, typer.Option(help="Folder to write; what is already there is kept.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that render.")]


def _render_shard(task: tuple[int, int, int, str, int]) -> int:
    """One shard in a worker process; the renderer is kept for the next."""
    seed, count, size_px, out, number = task
    import cv2

    from spinml.home.renderer import shared_renderer
    from spinml.home.shards import write_shard
    from spinml.home.worlds import PublicWorld

    cv2.setNumThreads(1)
    write_shard(shared_renderer(size_px), PublicWorld(seed), Path(out), number, count)
    return number


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )


@app.command()
def public(
    out: Out,
    seed: Seed = 1,
    count: Annotated[int, typer.Option(min=1, help="Scenes to render.")] = 10240,
    size_px: Annotated[int, typer.Option(min=128, help="Native side before resampling.")] = 256,
    workers: Workers = 2,
) -> None:
    """Render the public world in shards of 256 scenes; resumes after an interruption."""
    from spinml.home.shards import missing_shards

    out.mkdir(parents=True, exist_ok=True)
    todo = missing_shards(out, count)
    tasks = [(seed, count, size_px, str(out), number) for number in todo]
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool, _progress() as progress:
        bar = progress.add_task("shards", total=len(tasks))
        for number in pool.imap_unordered(_render_shard, tasks):
            progress.advance(bar)
            progress.console.print(f"shard {number} done")


if __name__ == "__main__":
    app()
