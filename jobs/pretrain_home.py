"""Pretrain the bundled checkpoint `home` from public renders; resumable, stage by stage.

ray job submit --working-dir . -- python jobs/pretrain_home.py --renders /data/public
python jobs/pretrain_home.py --local --stages vae --minutes vae=60
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from spinml.home.pretrain.loop import Figures, LoopSettings, print_now
from spinml.home.pretrain.stages import MINUTES, run_stage
from spinml.home.pretrain.workspace import Workspace


def parse_minutes(options: list[str]) -> dict[str, float]:
    """`["vae=25", "unet=40"]` over the defaults of `MINUTES`."""
    minutes = dict(MINUTES)
    for option in options:
        name, _, value = option.partition("=")
        if name not in minutes:
            raise typer.BadParameter(f"stage is {name!r}, wanted one of {', '.join(minutes)}")
        try:
            minutes[name] = float(value)
        except ValueError:
            raise typer.BadParameter(f"minutes of {name} are {value!r}, wanted a number") from None
    return minutes


def parse_stages(stages: str) -> list[str]:
    """Comma-separated names, checked, in the order in which they must run."""
    wanted = set(stages.split(","))
    if unknown := wanted - set(MINUTES):
        raise typer.BadParameter(f"unknown stages {sorted(unknown)}, wanted {', '.join(MINUTES)}")
    return [name for name in MINUTES if name in wanted]


def work(name: str, data: Workspace, loop: LoopSettings, threads: int) -> Figures:
    """One stage with as many torch threads as it was given cores."""
    import torch

    torch.set_num_threads(threads)
    return run_stage(name, data, loop)


def work_on_ray(name: str, data: Workspace, loop: LoopSettings, cpus: int, gpus: float) -> Figures:
    """One stage as a Ray task; a lost worker's stage resumes from its own checkpoint."""
    import ray

    ray.init(ignore_reinit_error=True)
    task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=3)(work)
    figures: Figures = ray.get(task.options(name=f"pretrain:{name}").remote(name, data, loop, cpus))
    return figures


def main(
    renders: Annotated[Path, typer.Option(help="Folder of public shards: pet/, human/, bottle/.")],
    heldout: Annotated[Path | None, typer.Option(help="Folder of held-out shards.")] = None,
    out: Annotated[Path, typer.Option(help="Where stages keep state and results.")] = Path(
        "out/pretrain"
    ),
    stages: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(MINUTES),
    minutes: Annotated[list[str] | None, typer.Option(help="Budget, as vae=25.")] = None,
    limit: Annotated[int | None, typer.Option(help="Most objects to load.")] = None,
    start: Annotated[Path | None, typer.Option(help="Checkpoint whose weights to start from.")] = (
        None
    ),
    package: Annotated[Path | None, typer.Option(help="Write the checkpoint here.")] = None,
    cpus: Annotated[int, typer.Option(help="Cores of each stage.")] = 2,
    gpus: Annotated[float, typer.Option(help="GPUs of each stage.")] = 0.0,
    seed: int = 0,
    local: Annotated[bool, typer.Option(help="In this process, without Ray.")] = False,
) -> None:
    """Run the stages that are asked for, each until its whole budget is spent."""
    budget = parse_minutes(minutes or [])
    device = "cuda" if gpus > 0 else "cpu"
    data = Workspace(renders.resolve(), heldout and heldout.resolve(), out.resolve(), device, limit)
    if start is not None and not any(data.out.glob("*/state.pt")):
        from spinml.home.pretrain.package import unpack_checkpoint

        unpack_checkpoint(start.resolve(), data)
    for name in parse_stages(stages):
        loop = LoopSettings(minutes=budget[name], seed=seed)
        if local:
            figures = work(name, data, loop, cpus)
        else:
            figures = work_on_ray(name, data, loop, cpus, gpus)
        print_now(f"{name}: {json.dumps(figures)}")
    if package is not None:
        from spinml.home.pretrain.package import write_checkpoint

        write_checkpoint(data, package.resolve())
        print_now(f"checkpoint: {package.resolve()}")


if __name__ == "__main__":
    typer.run(main)
