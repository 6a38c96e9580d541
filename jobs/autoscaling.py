r"""Does the cluster grow under a sweep, and shrink again? Rehearsed with simulated stages.

python jobs/autoscaling.py --out out/autoscaling          # an autoscaling cluster on this machine
ray job submit --working-dir . -- python jobs/autoscaling.py --address auto \
    --config /etc/spinml/server.yaml                      # a real cluster, before it is needed

The sweep, its plan, Ray Tune, the executor and (but for ``--plain``) Ray Data and Ray Train are
real, and hold of the cluster what ``resources`` says. The stages' work is not: they wait as long
as a GPU would work that does 4 steps of fine-tuning or 4 images a second. What they write is erased
at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from spinml.config import ServerConfig, load_config
from spinml.distributed.autoscaling import autoscaling_cluster
from spinml.distributed.cluster import connected
from spinml.errors import InvalidRequestError, SpinMLError
from spinml.report.scaling_plot import scaling_plot
from spinml.sweep.spec import SweepSpec, load_sweep
from spinml.tradeoffs.rehearsal import IDLE_S, rehearse, small_config


def main(
    sweep: Annotated[Path, typer.Argument(help="Sweep file; its first seed is rehearsed.")] = Path(
        "examples/sweep.yaml"
    ),
    out: Annotated[Path, typer.Option(help="Folder for timeline.json and autoscaling.png.")] = Path(
        "out/autoscaling"
    ),
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster; without it one starts on this machine.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="The cluster's server configuration, whose resources are rehearsed."),
    ] = None,
    nodes: Annotated[
        int, typer.Option(min=1, max=16, help="On this machine: GPU nodes at most.")
    ] = 4,
    gpus: Annotated[
        int, typer.Option(min=1, max=8, help="On this machine: logical GPUs of a node.")
    ] = 1,
    concurrent: Annotated[
        int | None,
        typer.Option(min=1, help="Trials at once; default: as many as have room, and one more."),
    ] = None,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="One worker a stage, without Ray Data and Ray Train."),
    ] = False,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for the nodes to go, after the sweep.")
    ] = 600,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Rehearse a sweep; write the timeline and its plot."""
    if address is None:
        if config is not None:
            raise InvalidRequestError(
                "--config is of a cluster that is there, and no --address is given",
                remedy="name it by --address auto, or leave --config out",
            )
        _on_this_machine(nodes, gpus)
        return
    console = Console(stderr=True)
    spec, settings = _first_seed(load_sweep(sweep)), _settings(config, nodes, gpus)
    with connected(address):
        timeline = rehearse(
            spec,
            settings,
            tell=lambda line: console.print(line, highlight=False),
            empty_timeout_s=wait,
            concurrent=concurrent,
            plain=plain,
        )
    out.mkdir(parents=True, exist_ok=True)
    timeline.write(out / "timeline.json")
    (out / "autoscaling.png").write_bytes(scaling_plot(timeline))
    figures = timeline.figures()
    if as_json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            console.print(f"{name:22} {value}", highlight=False)
    if timeline.emptied_s is None:
        sys.exit(f"nodes that the sweep added were still there {wait:g} s after it")


def _first_seed(spec: SweepSpec) -> SweepSpec:
    space = spec.space.model_copy(update={"seeds": spec.space.seeds[:1]})
    return spec.model_copy(update={"space": space})


def _settings(config: Path | None, nodes: int, gpus: int) -> ServerConfig:
    return small_config(nodes, gpus) if config is None else load_config(config)


def _on_this_machine(nodes: int, gpus: int) -> None:
    """This same command in a process that has the cluster's token from its start."""
    (group,) = small_config(nodes, gpus).resources.node_groups
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spinml-cluster-")))
        cluster = stack.enter_context(autoscaling_cluster(group, folder, idle_s=IDLE_S))
        command = [sys.executable, *sys.argv, "--address", cluster.address]
        ended = subprocess.run(command, env=cluster.environment, check=False)
    if ended.returncode:
        sys.exit(ended.returncode)


if __name__ == "__main__":
    try:
        typer.run(main)
    except SpinMLError as error:
        sys.exit(f"{error.code}: {error}")
