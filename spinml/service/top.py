"""``spinml admin top``: the service as it is now, from the database alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from spinml.config import load_config
from spinml.service.cli import ConfigOption, JsonOption
from spinml.service.database import UNAVAILABLE, Database, unavailable
from spinml.service.models import RunState
from spinml.service.overview import DispatcherView, Overview, StageView, overview
from spinml.service.state import open_database

SHOWN_QUEUE = 15


def show_top(
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch runs, stages, queue and cluster, until Ctrl-C; with --json, a line at each look.

    It needs the database alone: the cluster's CPUs and GPUs are what its dispatcher wrote last.
    """
    database = open_database(load_config(config))
    if once:
        view = _look(database)
        typer.echo(json.dumps(as_dict(view))) if as_json else Console().print(render(view))
        return
    try:
        _follow_json(database, every) if as_json else _follow(database, every)
    except KeyboardInterrupt:
        return


def as_dict(view: Overview) -> dict[str, Any]:
    """An overview as JSON-able data: times in ISO 8601, stages with ``rate`` and ``left_s``."""
    data = asdict(view)
    for row, stage in zip(data["stages"], view.stages, strict=True):
        row |= {"rate": stage.rate, "left_s": stage.left_s}
    if view.dispatcher is not None:
        data["dispatcher"]["is_alive"] = view.dispatcher.is_alive
    return dict(json.loads(json.dumps(data, default=str)))


def render(view: Overview) -> RenderableType:
    """An overview for people."""
    return Group(_headline(view), _tenants(view), _stages(view.stages), _queue(view))


def _look(database: Database) -> Overview:
    try:
        return overview(database)
    except UNAVAILABLE as error:
        raise unavailable(error) from None


def _follow(database: Database, every_s: float) -> None:
    """A live table; a database that is away for a while is said in its place."""
    with Live(console=Console(), auto_refresh=False, screen=Console().is_terminal) as live:
        while True:
            try:
                shown = render(overview(database))
            except UNAVAILABLE as error:
                shown = Text(unavailable(error).message, style="bold red")
            live.update(shown, refresh=True)
            time.sleep(every_s)


def _follow_json(database: Database, every_s: float) -> None:
    while True:
        typer.echo(json.dumps(as_dict(_look(database))))
        time.sleep(every_s)


def _headline(view: Overview) -> Text:
    line = Text(f"{view.at:%Y-%m-%d %H:%M:%S} UTC   ")
    line.append(*_dispatcher(view.dispatcher))
    ended = ", ".join(f"{count} {state}" for state, count in view.ended_last_hour.items())
    return line.append(f"   last hour: {ended}")


def _dispatcher(found: DispatcherView | None) -> tuple[str, str]:
    """What is said of the dispatcher, and in which style."""
    if found is None:
        return "no dispatcher works", "bold red"
    if not found.is_alive:
        return f"no dispatcher was heard of for {_seconds(found.silent_s)}", "bold red"
    if found.cluster is None:
        return "dispatcher works; its cluster is not known yet", "yellow"
    used = "   ".join(
        f"{name}s {in_use:g} of {there:g}" for name, (in_use, there) in found.cluster.items()
    )
    return f"dispatcher works   {used}", "green"


def _tenants(view: Overview) -> Table:
    rows = (
        [
            tenant.tenant,
            *(str(tenant.runs[state] or "–") for state in RunState),
            _seconds(tenant.oldest_queued_s),
            f"{tenant.stored_bytes / 1e6:.1f} MB",
        ]
        for tenant in view.tenants
    )
    return _table("Runs", ["tenant", *RunState, "oldest waits", "stored"], rows)


def _stages(stages: Iterable[StageView]) -> Table:
    rows = (
        [
            stage.tenant,
            str(stage.run),
            stage.kind,
            f"{stage.done}/{stage.total or '?'} {stage.unit}",
            f"{stage.rate:.2f}/s" if stage.rate else "–",
            _seconds(stage.left_s),
            f"{stage.gpus:g}",
        ]
        for stage in stages
    )
    heads = ["tenant", "run", "stage", "done", "rate", "left", "GPUs"]
    return _table("Stages under way", heads, rows)


def _queue(view: Overview) -> Table:
    shown, all_ = view.queue[:SHOWN_QUEUE], len(view.queue)
    rows = (
        [str(q.position), q.tenant, str(q.run), str(q.priority), _seconds(q.waits_s)] for q in shown
    )
    title = "Queue" if all_ <= SHOWN_QUEUE else f"Queue: the next {SHOWN_QUEUE} of {all_}"
    return _table(title, ["", "tenant", "run", "priority", "waits"], rows)


def _table(title: str, heads: Iterable[str], rows: Iterable[list[str]]) -> Table:
    table = Table(*heads, title=title, title_justify="left", title_style="bold")
    for row in rows:
        table.add_row(*row)
    return table


def _seconds(seconds: float | None) -> str:
    """``4 s``, ``3 min 5 s``, ``2 h 10 min``; a dash for what is not known."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
