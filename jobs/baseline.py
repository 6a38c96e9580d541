"""Generic models against the simulated home's test photos, without training (§5.7, table 7).

python jobs/baseline.py --model home --model openai/clip-vit-base-patch32
ray job submit --working-dir . -- python jobs/baseline.py --json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from spinml.errors import SpinMLError
from spinml.home.photos import PhotoSet, shipped_home
from spinml.request import parse_request
from spinml.training.zero_shot import TEMPLATE, Baseline, measure_baseline


def main(
    model: Annotated[
        list[str] | None, typer.Option(help="“home”, a folder or a hub name; may be given again.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="A rendered home; default: the shipped.")
    ] = None,
    template: Annotated[str, typer.Option(help="{label}, {object}, {background}.")] = TEMPLATE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print each model's accuracy, or all its figures as JSON."""
    photos = PhotoSet(home) if home else shipped_home("pet")
    record = photos.record
    request = parse_request(
        {
            "target_object": record.target_object,
            "background": record.background,
            "training_objective": "the generic baseline",
            "label_classes": record.label_classes,
        }
    )
    measured = [
        measure_baseline(request, photos.folder / "test", model=name, template=template)
        for name in model or ["home"]
    ]
    if as_json:
        print(json.dumps([one.as_dict() for one in measured], indent=2))
    else:
        Console().print(_table(measured))


def _table(measured: list[Baseline]) -> Table:
    classes = measured[0].evaluation.classes
    table = Table("generic model", "accuracy", "95 %", *classes)
    for one in measured:
        figures = one.as_dict()
        low, high = figures["interval_95"]
        by_class = (f"{100 * share:.0f} %" for share in figures["per_class"].values())
        table.add_row(
            one.model,
            f"{100 * figures['accuracy']:.1f} %",
            f"{100 * low:.1f}–{100 * high:.1f}",
            *by_class,
        )
    return table


if __name__ == "__main__":
    try:
        typer.run(main)
    except SpinMLError as error:
        sys.exit(f"{type(error).__name__}: {error}")
