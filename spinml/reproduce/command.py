"""``jobs/reproduce.py``: one command for all of the paper's section 5."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from spinml.config import load_config
from spinml.reproduce.experiments import EXPERIMENTS, TABLES, seeds_by_experiment, tables_of
from spinml.reproduce.forecast import Forecast, forecast
from spinml.reproduce.run import Reproduction, Settings, with_steps
from spinml.reproduce.selection import Selection, select
from spinml.tradeoffs.standing import UNDER_WAY, Standing

INCOMPLETE = 3
"""Exit code where some of what was asked for is not measured: left out, or broken."""


def reproduction(
    tables: Annotated[
        str, typer.Option(help=f"Of {', '.join(TABLES)}; separated by commas.")
    ] = ",".join(TABLES),
    seeds: Annotated[
        str, typer.Option(help=f"Runs of every condition; 1,pet=3: of {', '.join(EXPERIMENTS)}.")
    ] = "3",
    images_per_class: Annotated[
        int | None, typer.Option(min=4, max=1250, help="Synthetic images a class; the paper: 400.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of fine-tuning; the paper: 800.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Server configuration, e.g. cluster/laptop.yaml.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the sweeps; named again, it goes on there.")
    ] = Path("out/reproduce"),
    results: Annotated[
        Path | None,
        typer.Option(help="Folder for reproduction.md, .json and figures; default: --out."),
    ] = None,
    generic_model: Annotated[
        str, typer.Option(help="Table 7's classifier: “home”, a folder or a hub name.")
    ] = "home",
    generic_detector: Annotated[
        str | None, typer.Option(help="Table 7's detector: OWL-ViT, OWLv2 or Grounding DINO.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster; without it one starts on this machine.")
    ] = None,
    concurrent: Annotated[int | None, typer.Option(min=1, help="Trials at once.")] = None,
    only_list: Annotated[
        bool, typer.Option("--list", help="Say what would be run, and how long; run nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tables 3-7 and figures 3-6 on the simulated homes, the paper's numbers beside ours.

    Exit code 3: some of what was asked for is not measured; which and why is said at the start and
    in the results. The same command goes on where it was.
    """
    console = Console(stderr=True)
    server = with_steps(load_config(config), steps)
    images = images_per_class or server.generation.images_per_class
    counts = seeds_by_experiment(seeds)
    settings = Settings(counts, images, generic_model, generic_detector)
    wanted = tables_of([name.strip() for name in tables.split(",")])
    selection = select(wanted, server, generic_detector=generic_detector)
    _tell_left_out(selection, console)
    if only_list:
        found = forecast(selection, server, counts, images)
        if as_json:
            left_out = [asdict(one) for one in selection.left_out]
            listed = {"experiments": [asdict(one) for one in found], "left_out": left_out}
            typer.echo(json.dumps(listed, indent=2))
        else:
            Console().print(_forecast_table(found))
        raise typer.Exit(INCOMPLETE if selection.left_out else 0)

    # Here, so that --list does not wait for them.
    from spinml.distributed.cluster import connected
    from spinml.report.sweep import render_sweep_report
    from spinml.reproduce.document import as_dict, write_reproduction
    from spinml.reproduce.run import reproduce
    from spinml.sweep.results import write_whole

    with connected(address):
        made = reproduce(
            selection, settings, server, out, tell=_teller(console), concurrent=concurrent
        )
    command = shlex.join(["python", "jobs/reproduce.py", *sys.argv[1:]])
    write_reproduction(made, results or out, command)
    if made.sweeps:
        write_whole(out / "report.html", render_sweep_report(list(made.sweeps.values())))
    if as_json:
        typer.echo(json.dumps(as_dict(made, command), indent=2))
    _tell_verdicts(made, console)
    console.print(f"results  {(results or out) / 'reproduction.md'}", highlight=False)
    raise typer.Exit(0 if made.complete else INCOMPLETE)


def _tell_left_out(selection: Selection, console: Console) -> None:
    for one in selection.left_out:
        console.print(
            f"left out  table {', '.join(one.tables)}: {one.what}: {one.reason}",
            highlight=False,
            soft_wrap=True,
        )


def _tell_verdicts(made: Reproduction, console: Console) -> None:
    for insight in (*made.insights, *made.findings):
        console.print(f"{insight.verdict.value:15} {insight.name}", highlight=False)


def _teller(console: Console) -> Callable[[str, Sequence[Standing]], None]:
    """A line whenever a trial ends."""
    told: set[tuple[str, str, int]] = set()

    def tell(name: str, standings: Sequence[Standing]) -> None:
        for one in standings:
            key = (name, one.label, one.seed)
            if one.state in UNDER_WAY or key in told:
                continue
            told.add(key)
            figure = f"{one.utility:.1%}" if one.utility is not None else one.detail
            console.print(
                f"{name} {one.label} seed {one.seed}: {one.state} {figure}",
                highlight=False,
                soft_wrap=True,
                markup=False,
            )

    return tell


def _forecast_table(found: Sequence[Forecast]) -> Table:
    table = Table(
        "experiment", "conditions", "trials", "stages", "without sharing", "to do", "hours"
    )
    for one in found:
        counts = (one.conditions, one.trials, one.stages, one.alone, one.missing)
        table.add_row(one.experiment, *map(str, counts), f"{one.hours:.1f}")
    hours = sum(one.hours for one in found)
    table.add_section()
    table.add_row("all", "", "", "", "", str(sum(one.missing for one in found)), f"{hours:.1f}")
    return table
