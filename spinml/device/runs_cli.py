"""Commands about a run that is at the server: status, watch, cancel, delete, fetch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from spinml.device.client import RESULTS, Client
from spinml.device.key import api_key
from spinml.device.options import DEFAULT_SERVER, AsJson, KeyFile, RunId, Server
from spinml.device.runs import RunStatus
from spinml.device.terminal import People, print_json, reports_errors
from spinml.device.watch import watch as watch_run
from spinml.errors import InvalidRequestError, error_from_dict


@reports_errors
def status(
    run: RunId,
    wait: Annotated[
        bool, typer.Option("--wait", help="Once it has ended; without events, by long polls.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Tell how a run is."""
    with Client(server, api_key(key_file)) as client:
        show_run(client.wait(run) if wait else client.status(run), as_json)


@reports_errors
def watch(
    run: RunId,
    server: Server = DEFAULT_SERVER,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Follow a run to its end; exit code 1 when it did not succeed."""
    with Client(server, api_key(key_file)) as client:
        follow_runs(client, [run], as_json)


@reports_errors
def cancel(
    run: RunId,
    server: Server = DEFAULT_SERVER,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Stop a run."""
    with Client(server, api_key(key_file)) as client:
        client.cancel(run)
        show_run(client.status(run), as_json)


@reports_errors
def delete(
    run: RunId,
    server: Server = DEFAULT_SERVER,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Erase a run and all that came of it from the server."""
    with Client(server, api_key(key_file)) as client:
        client.delete(run)
    if as_json:
        print_json({"deleted": run})
    else:
        People.print("erased")


@reports_errors
def fetch(
    run: RunId,
    what: Annotated[
        list[str] | None, typer.Option("--what", help=f"{', '.join(RESULTS)}; all if not given.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path(),
    server: Server = DEFAULT_SERVER,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Download a run's results."""
    names = what or list(RESULTS)
    unknown = [name for name in names if name not in RESULTS]
    if unknown:
        raise InvalidRequestError(
            f"no result {', '.join(unknown)}", remedy=f"there are: {', '.join(RESULTS)}"
        )
    with Client(server, api_key(key_file)) as client:
        for name in names:
            fetched = client.fetch(run, name, out / RESULTS[name])
            if as_json:
                print_json({"result": name, **asdict(fetched)})
            else:
                typer.echo(fetched.path)


def follow_runs(client: Client, runs: list[str], as_json: bool) -> None:
    """Follow one after the other; exit code 1 when one did not succeed."""
    tell = (lambda event: print_json(event.model_dump(mode="json"))) if as_json else None
    ended = []
    for run in runs:
        ended.append(watch_run(client, run, People, tell))
        show_run(ended[-1], as_json)
    if any(status.state != "succeeded" for status in ended):
        raise typer.Exit(1)


def show_run(status: RunStatus, as_json: bool) -> None:
    if as_json:
        print_json(status.model_dump(mode="json"))
        return
    typer.echo(f"{status.id}\t{status.state}")
    for stage in status.stages:
        done = f" {stage.done}/{stage.total} {stage.unit}" if stage.total else ""
        People.print(f"  {stage.label}: {stage.state}{done}", markup=False, soft_wrap=True)
    if status.error:
        People.print(f"[bold red]error[/] {escape(str(error_from_dict(status.error)))}")
