"""Renders the simulated home: shards of the public world, and private homes as photo folders."""

from __future__ import annotations

import multiprocessing
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.setdefault("LP_NUM_THREADS", "1")

HOME_SEED = 5
"""The seed of the shipped pet home, ``spinml/home/data/pet``, and of the other tasks' homes."""

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)


class TaskName(StrEnum):
    """What the pictures are about."""

    pet = "pet"
    human = "human"
    bottle = "bottle"


Task = Annotated[TaskName, typer.Option(help="What the pictures are about.")]
Seed = Annotated[int, typer.Option(help="Every scene follows from this number and its index.")]
Out = Annotated[Path, typer.Option(help="Folder to write; what is already there is kept.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that render.")]


def _render_shard(task: tuple[str, int, int, int, str, int]) -> int:
    """One shard in a worker process; the renderer is kept for the next."""
    name, seed, count, size_px, out, number = task
    import cv2

    from spinml.home.renderer import shared_renderer
    from spinml.home.shards import write_shard
    from spinml.home.worlds import PublicWorld

    cv2.setNumThreads(1)
    write_shard(shared_renderer(size_px), PublicWorld(seed, name), Path(out), number, count)
    return number


def _take_photo(task: tuple[str, str, int, int, str, str, int]) -> int:
    """One photo of a private home in a worker process."""
    kind, name, seed, size_px, out, stream, index = task
    from spinml.home import camera
    from spinml.home.homes import private_home
    from spinml.home.renderer import shared_renderer

    renderer = shared_renderer(size_px, camera.SUPERSAMPLE)
    write = camera.write_reference if stream == "reference" else camera.write_test
    write(renderer, private_home(kind, name, seed), Path(out), index)
    return index


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    )


@app.command()
def public(
    out: Out,
    task: Task = TaskName.pet,
    seed: Seed = 1,
    count: Annotated[int, typer.Option(min=1, help="Scenes to render.")] = 10240,
    size_px: Annotated[int, typer.Option(min=128, help="Native side before resampling.")] = 256,
    workers: Workers = 2,
) -> None:
    """Render the public world in shards of 256 scenes; resumes after an interruption."""
    from spinml.home.shards import missing_shards

    out.mkdir(parents=True, exist_ok=True)
    todo = missing_shards(out, count)
    tasks = [(task.value, seed, count, size_px, str(out), number) for number in todo]
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool, _progress() as progress:
        bar = progress.add_task("shards", total=len(tasks))
        for number in pool.imap_unordered(_render_shard, tasks):
            progress.advance(bar)
            progress.console.print(f"shard {number} done")


@app.command()
def private(
    out: Out,
    task: Task = TaskName.pet,
    name: Annotated[
        str, typer.Option(help="What the home is called; as its task if not given.")
    ] = "",
    seed: Seed = HOME_SEED,
    count: Annotated[int, typer.Option(min=4, help="Labelled test photos.")] = 200,
    references: Annotated[int, typer.Option(min=1, help="Unlabelled reference photos.")] = 10,
    size_px: Annotated[int, typer.Option(min=128, help="Side of a photo.")] = 320,
    workers: Workers = 2,
) -> None:
    """Render the photo set of a private home; every seed is another subject and room."""
    from spinml.home.camera import write_home
    from spinml.home.homes import private_home

    name = name or task.value
    streams = [("reference", i) for i in range(references)] + [("test", i) for i in range(count)]
    tasks = [(task.value, name, seed, size_px, str(out), stream, i) for stream, i in streams]
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool, _progress() as progress:
        bar = progress.add_task("photos", total=len(tasks))
        for _ in pool.imap_unordered(_take_photo, tasks, chunksize=4):
            progress.advance(bar)
    write_home(private_home(task.value, name, seed), out, references, count, size_px)


if __name__ == "__main__":
    app()
