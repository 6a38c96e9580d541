"""Utility and leakage on the simulated home: preferences × seeds, mean, spread and interval.

python jobs/evaluate_home.py --preference L0,L0 --preference L2,L0 --seeds 3
python jobs/evaluate_home.py --home bottle/   # its accuracies are mAP50
ray job submit --working-dir . -- python jobs/evaluate_home.py --json
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import ray
import typer
from rich.console import Console
from rich.table import Table

from spinml.config import load_config
from spinml.distributed.cluster import connect
from spinml.distributed.events import StageEvent, StageState
from spinml.evaluation import FIGURES, Row, Summary, evaluate_home, summarise
from spinml.home.photos import PhotoSet
from spinml.request import PrivacyPreference
from spinml.sweep.estimates import Estimate

People = Console(stderr=True)


def parse_preference(text: str) -> tuple[str, str]:
    """``"L2,L0"`` → target and background."""
    target, _, background = text.partition(",")
    try:
        PrivacyPreference.model_validate({"target": target, "background": background})
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no preference, wanted such as L2,L0") from None
    return target, background


def main(
    config: Annotated[Path, typer.Option(help="Server configuration.")] = Path(
        "cluster/laptop.yaml"
    ),
    preference: Annotated[
        list[str] | None, typer.Option(help="Target,background; may be given again.")
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(help="A private home that jobs/render_home.py rendered; the shipped pet's."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 … n-1.")] = 3,
    images_per_class: Annotated[int | None, typer.Option(min=4)] = None,
    store: Annotated[str | None, typer.Option(help="Artifact store in place of the config's.")] = (
        None
    ),
    out: Annotated[
        Path | None, typer.Option(help="Write the rows as JSON here, too, after each.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the table; a second call reuses every artifact that the store has."""
    settings = load_config(config)
    if store:
        changed = settings.store.model_copy(update={"artifacts": store})
        settings = settings.model_copy(update={"store": changed})
    preferences = [parse_preference(text) for text in preference or ["L0,L0", "L2,L0"]]
    done: list[Row] = []

    def row_done(row: Row) -> None:
        done.append(row)
        _tell_row(row)
        if out:
            _write(out, done)

    connect()
    try:
        evaluate_home(
            preferences,
            range(seeds),
            settings,
            _tell_stage,
            row_done,
            images_per_class,
            home=PhotoSet(home) if home else None,
        )
    finally:
        ray.shutdown()
    if as_json:
        print(json.dumps(_payload(done)))
    else:
        Console().print(_table(summarise(done)))


def _payload(rows: list[Row]) -> dict[str, object]:
    return {"rows": [asdict(r) for r in rows], "summary": [asdict(s) for s in summarise(rows)]}


def _write(path: Path, rows: list[Row]) -> None:
    """All rows so far: hours of work are not lost with the last of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_payload(rows), indent=2))


def _tell_stage(event: StageEvent) -> None:
    if event.state in (StageState.DONE, StageState.REUSED, StageState.FAILED):
        People.print(f"  {event.label}: {event.state} in {event.seconds:.0f} s")


def _tell_row(row: Row) -> None:
    People.print(f"({row.target}, {row.background}) seed {row.seed}: {100 * row.accuracy:.1f} %")


def _table(summaries: list[Summary]) -> Table:
    """A row a figure, a column a preference."""
    heads = [f"({item.target}, {item.background}), {item.seeds} seed(s)" for item in summaries]
    table = Table("figure", *heads, caption="mean ± standard deviation [95 % t interval]")
    for name in FIGURES:
        unit = _UNITS.get(name.removesuffix("_target").removesuffix("_background"), 100)
        table.add_row(name, *(_cell(item.figures[name], unit) for item in summaries))
    return table


_UNITS = {"sim": 1, "prompt_sim": 1, "empty_prompt_sim": 1, "nearest": 1, "seconds": 1}
"""Factor at which a figure is shown; all others are shares, shown in per cent."""


def _cell(found: Estimate | None, unit: float) -> str:
    if found is None:
        return "not measured"
    sign, places = (" %", 2) if unit == 100 else ("", 3)
    if found.interval_95 is None or found.spread is None:
        return f"{unit * found.mean:.{places}f}{sign}"
    low, high = found.interval_95
    return (
        f"{unit * found.mean:.{places}f} ± {unit * found.spread:.{places}f}{sign} "
        rf"\[{unit * low:.{places}f}, {unit * high:.{places}f}]"
    )


if __name__ == "__main__":
    typer.run(main)
