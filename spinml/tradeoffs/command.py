"""``spinml sweep`` and ``jobs/sweep.py``: one command, on this machine or on a cluster."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from spinml.config import ServerConfig, load_config
from spinml.device.key import KEY_VARIABLE, api_key_file
from spinml.errors import ConfigError, InvalidRequestError, StageError
from spinml.sweep.spec import SweepSpec, load_sweep
from spinml.tradeoffs.service_sweep import ServiceAccess
from spinml.tradeoffs.standing import UNDER_WAY, Standing, TrialState

if TYPE_CHECKING:
    from spinml.sweep.summary import SweepResult

_SHOWN = 24
_COLOUR = {
    TrialState.WAITING: "dim",
    TrialState.RUNNING: "cyan",
    TrialState.DONE: "green",
    TrialState.FAILED: "bold red",
    TrialState.SKIPPED: "yellow",
}


def sweep(
    files: Annotated[
        list[Path], typer.Argument(help="Sweep files, one a task; examples/sweep.yaml is one.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for results and report; named again, it goes on there.")
    ] = Path("out/sweep"),
    config: Annotated[
        Path | None, typer.Option(help="Server configuration, e.g. cluster/laptop.yaml.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster; without it one starts on this machine.")
    ] = None,
    concurrent: Annotated[
        int | None,
        typer.Option(min=1, help="Trials at once; default: as many as have room, and one more."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(help="A service's URL: the runs are its runs, in its queue, under your key."),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help=f"File with the API key; else {KEY_VARIABLE}.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Submit all, print each sweep's id, and end.")
    ] = False,
    attach: Annotated[
        str | None, typer.Option(metavar="ID", help="Take up a sweep that was submitted.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Try preferences × features × seeds × mixtures, and say which discloses least for enough.

    Trials that share a stage make it once. Finished trials and stages are never made again: call
    it again after a crash, or with one preference more. Broken trials do not end the sweep.

    With --server the runs are a service's, and go on when this command ends; the same command, or
    --attach on any machine with the sweep file and its photos, takes them up.
    """
    console = Console(stderr=True)
    specs = [load_sweep(path) for path in files]
    _check(specs, server, key_file, detach, attach)
    settings = load_config(config)
    with ExitStack() as stack:
        access = None
        if server is not None:
            access = ServiceAccess(server, stack.enter_context(api_key_file(key_file)))
        if access is not None and detach:
            _detach(specs, settings, out, access, as_json, console)
            return
        # Here, so that other commands do not wait for them.
        from spinml.distributed.cluster import connected
        from spinml.report.sweep import render_sweep_report
        from spinml.sweep.results import write_whole

        stack.enter_context(connected(address))
        results = [
            _run(spec, settings, out / spec.name, console,
                 concurrent=concurrent, service=access, attach=attach)
            for spec in specs
        ]  # fmt: skip
    report = out / "report.html"
    write_whole(report, render_sweep_report(results))
    if as_json:
        typer.echo(json.dumps([result.as_dict() for result in results], indent=2))
    for result in results:
        _print(result, console)
    console.print(f"report  {report}", highlight=False, soft_wrap=True)
    if not any(result.rows for result in results):
        raise StageError(
            "no trial of the sweep was finished", remedy="the report names what failed in each"
        )


def _check(
    specs: Sequence[SweepSpec],
    server: str | None,
    key_file: Path | None,
    detach: bool,
    attach: str | None,
) -> None:
    """Refuse what contradicts itself.

    Raises:
        ConfigError: two sweeps of one name.
        InvalidRequestError: options that do not go together.
    """
    twice = [name for name, count in Counter(spec.name for spec in specs).items() if count > 1]
    if twice:
        raise ConfigError(f"two sweeps are called {', '.join(twice)}", remedy="name them apart")
    if server is None and (detach or attach or key_file):
        raise InvalidRequestError(
            "--detach, --attach and --key-file are of a service's runs, and there is no --server",
            remedy="name the service by --server",
        )
    if attach is not None and (detach or len(specs) > 1):
        raise InvalidRequestError(
            f"--attach takes up one sweep, got {len(specs)} file(s)"
            + (" and --detach" if detach else ""),
            remedy="attach to one after the other",
        )
    searches = [spec.name for spec in specs if spec.search.kind != "grid"]
    if detach and searches:
        raise InvalidRequestError(
            f"{', '.join(searches)} is a search, whose next trial follows from those that have "
            "ended: somebody has to follow it",
            remedy="leave --detach out; as a job: `ray job submit --no-wait`",
        )


def _detach(
    specs: Sequence[SweepSpec],
    config: ServerConfig,
    out: Path,
    access: ServiceAccess,
    as_json: bool,
    console: Console,
) -> None:
    """Submit, and tell the ids: on stdout alone, for scripts.

    Raises:
        SpinMLError: a sweep of which nothing could be submitted.
    """
    from spinml.distributed.operations import Operations
    from spinml.tradeoffs.run import set_up
    from spinml.tradeoffs.submitting import submit_grid, told

    for spec in specs:
        setup = set_up(spec, config, out / spec.name, Operations(), access, None)
        submitted = submit_grid(setup)
        sweep = setup.service.id if setup.service else ""
        for one in submitted:
            if one.run is None:
                console.print(
                    f"{one.label} seed {one.seed}: {one.state} {one.message}",
                    highlight=False, soft_wrap=True, markup=False,
                )  # fmt: skip
        if submitted and not any(one.run for one in submitted):
            raise StageError(
                f"nothing of {spec.name} could be submitted: {told(submitted)}",
                remedy="each trial's reason stands above",
            )
        console.print(f"{spec.name}: {told(submitted)}", highlight=False)
        if as_json:
            runs = [asdict(one) for one in submitted]
            typer.echo(json.dumps({"name": spec.name, "sweep": sweep, "runs": runs}))
        else:
            typer.echo(sweep)


def _run(
    spec: SweepSpec, config: ServerConfig, out: Path, console: Console, **options: Any
) -> SweepResult:
    from spinml.tradeoffs.run import run_sweep

    if not console.is_terminal:
        return run_sweep(spec, config, out, tell=_teller(console), **options)
    with Live(console=console, refresh_per_second=2, transient=True) as live:

        def show(standings: Sequence[Standing]) -> None:
            live.update(standings_table(spec.name, standings))

        return run_sweep(spec, config, out, tell=show, **options)


def _teller(console: Console) -> Callable[[Sequence[Standing]], None]:
    """Without a terminal: a line whenever a trial ends."""
    told: set[tuple[str, int]] = set()

    def tell(standings: Sequence[Standing]) -> None:
        for one in standings:
            if one.state in UNDER_WAY:
                continue
            if (one.label, one.seed) not in told:
                told.add((one.label, one.seed))
                figure = f" {one.utility:.1%}" if one.utility is not None else f" {one.detail}"
                console.print(
                    f"{one.label} seed {one.seed}: {one.state}{figure}",
                    highlight=False,
                    soft_wrap=True,
                    markup=False,
                )

    return tell


def standings_table(name: str, standings: Sequence[Standing]) -> Table:
    """The live table: what runs first, then what ended last; at most 24 rows."""
    counts = Counter(one.state for one in standings)
    total = ", ".join(f"{counts[state]} {state}" for state in TrialState if counts[state])
    table = Table("preference", "seed", "state", "utility", "at work", title=f"{name}: {total}")
    order = [TrialState.RUNNING, TrialState.FAILED, TrialState.DONE, TrialState.SKIPPED]
    shown = sorted(
        standings, key=lambda one: order.index(one.state) if one.state in order else len(order)
    )
    for one in shown[:_SHOWN]:
        utility = f"{one.utility:.1%}" if one.utility is not None else ""
        state = f"[{_COLOUR[one.state]}]{one.state}[/]"
        table.add_row(one.label, str(one.seed), state, utility, one.detail[:60])
    return table


def _print(result: SweepResult, console: Console) -> None:
    name = result.spec.name
    if result.recommendation is not None:
        console.print(f"[bold]{name}[/]: {result.recommendation.sentence}", highlight=False)
    for trial in result.failed:
        console.print(
            f"[red]broken[/]  {trial.label} seed {trial.seed}: {trial.error['message']}",
            highlight=False,
        )
