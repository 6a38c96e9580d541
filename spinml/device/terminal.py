"""How the device's commands speak: results to stdout, words for people and errors to stderr."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, ParamSpec

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spinml.bundle import SanitizedBundle
from spinml.device.preview import summarise, words_line
from spinml.errors import SpinMLError
from spinml.privacy.leakage import Leakage

People = Console(stderr=True, emoji=False)
"""For people: progress, tables, questions. Stdout is for results alone."""

Arguments = ParamSpec("Arguments")


def print_json(payload: Any) -> None:
    """One JSON value on one line of stdout."""
    typer.echo(json.dumps(payload, default=str, sort_keys=True))


def reports_errors(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Turn a SpinMLError into exit code 1 and words, or JSON where the command has ``as_json``."""

    @functools.wraps(command)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except SpinMLError as error:
            if kwargs.get("as_json"):
                print_json({"error": error.as_dict()})
            else:
                People.print(f"[bold red]error[/] {escape(error.message)}")
                if error.remedy:
                    People.print(f"[dim]→ {escape(error.remedy)}[/]")
            raise typer.Exit(1) from None

    return wrapped


def summary_table(bundle: SanitizedBundle, leakage: Leakage) -> Table:
    """What would leave: one row a segment, and below the words that leave at every level."""
    table = Table(
        title="What leaves this device",
        title_justify="left",
        caption=escape(f"Words that leave at every level: {words_line(bundle.request)}"),
        caption_justify="left",
    )
    for column in ("segment", "scheme", "what leaves", "images", "bytes", "MI hist.", "MI reg."):
        table.add_column(column, justify="right" if column in _NUMBERS else "left")
    for item in summarise(bundle, leakage):
        table.add_row(
            escape(f"{item.name}: “{item.text}”"),
            item.scheme,
            escape(item.what),
            str(item.images),
            f"{item.bytes:,}",
            f"{item.mi.histogram:.1%}",
            f"{item.mi.regional:.1%}",
        )
    return table


_NUMBERS = frozenset({"images", "bytes", "MI hist.", "MI reg."})
