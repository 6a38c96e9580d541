"""A reproduction as Markdown and JSON: ``reproduction.md``, ``reproduction.json``, figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spinml.reproduce.claims import JudgedInsight
from spinml.reproduce.figures import draw_figures
from spinml.reproduce.run import Reproduction
from spinml.reproduce.tables import Cell, Table, is_share
from spinml.sweep.results import write_whole

_NOTHING = "–"
_HOW_JUDGED = (
    "Below, a claim holds, or does not, where a 95 % interval leaves no doubt: that of the "
    "difference, over the seeds of both; or, of one seed, those of the accuracies over the photos, "
    "which say nothing of other seeds. MI and the prompts' SIM depend on no seed. Where the "
    "interval leaves both possible, or is not known (mAP50 and the images' SIM of one seed), it "
    "cannot be told."
)


def write_reproduction(made: Reproduction, folder: Path, command: str) -> None:
    """Write the Markdown, the JSON and the figures into ``folder``.

    Args:
        command: what was typed, for whoever reads the results.
    """
    figures = draw_figures(made.sweeps)
    for name, png in figures.items():
        write_whole(folder / name, png)
    write_whole(folder / "reproduction.json", json.dumps(as_dict(made, command), indent=2))
    write_whole(folder / "reproduction.md", as_markdown(made, command, figures))


def as_dict(made: Reproduction, command: str) -> dict[str, Any]:
    """All numbers, JSON-able: percentages and SIM in the paper's units."""
    return {
        "command": command,
        "settings": asdict(made.settings) | {"steps": made.steps},
        "complete": made.complete,
        "tables": {name: _table_dict(table) for name, table in made.tables.items()},
        "insights": [_insight_dict(one) for one in made.insights],
        "findings": [_insight_dict(one) for one in made.findings],
        "left_out": [asdict(one) for one in made.left_out],
        "broken": _broken(made),
    }


def _table_dict(table: Table) -> dict[str, Any]:
    return {
        "caption": table.caption,
        "rows": {
            row: {
                column: {
                    "paper": cell.paper,
                    "ours": asdict(cell.ours) if cell.ours else None,
                    "seeds": dict(cell.seeds),
                }
                for column, cell in zip(table.columns, cells, strict=True)
            }
            for row, cells in table.rows.items()
        },
    }


def _insight_dict(one: JudgedInsight) -> dict[str, Any]:
    return {
        "name": one.name,
        "verdict": one.verdict.value,
        "claims": [asdict(claim) for claim in one.claims],
    }


def _broken(made: Reproduction) -> list[dict[str, Any]]:
    return [
        {"experiment": name, "condition": trial.label, "seed": trial.seed, "error": trial.error}
        for name, result in made.sweeps.items()
        for trial in result.failed
    ]


def as_markdown(made: Reproduction, command: str, figures: Mapping[str, bytes]) -> str:
    """The page: settings, what is missing, tables, insights, figures."""
    settings = made.settings
    seeds = ", ".join(f"{name.replace('_', ' ')} {settings.seeds[name]}" for name in made.sweeps)
    parts = [
        "# The paper's tables on the simulated homes",
        f"`{command}`",
        f"Seeds: {seeds}. {settings.images_per_class} images a class (of four; a "
        f"detector gets as many in all), {made.steps} steps of fine-tuning. "
        "“paper” is printed there, “here” was measured: mean ± sample standard deviation over "
        "seeds; of one seed an accuracy with its 95 % interval over the photos. Percent, or a "
        "cosine for SIM.",
    ]
    missing = [f"- table {', '.join(o.tables)}: {o.what}: {o.reason}" for o in made.left_out]
    missing += [
        f"- broken: {one['experiment']} {one['condition']} seed {one['seed']}: "
        f"{one['error']['message']}"
        for one in _broken(made)
    ]
    if missing:
        parts += ["## Not measured", "\n".join(missing)]
    parts += [_table(table) for table in made.tables.values()]
    judged = {"Insights (§5.4)": made.insights, "Further findings": made.findings}
    if any(judged.values()):
        parts.append(_HOW_JUDGED)
    for title, insights in judged.items():
        if insights:
            parts += [f"## {title}", *map(_insight, insights)]
    if figures:
        parts.append("## Figures")
        parts += [f"![{name.removesuffix('.png')}]({name})" for name in figures]
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    heads = [f"{column}: {side}" for column in table.columns for side in ("paper", "here")]
    lines = [
        f"## Table {table.name}: {table.caption}",
        "",
        _line(["", *heads]),
        _line(["---"] * (1 + len(heads))),
    ]
    for row, cells in table.rows.items():
        shown = zip(table.columns, cells, strict=True)
        lines.append(
            _line([_row_name(row), *(text for name, cell in shown for text in _cell(name, cell))])
        )
    return "\n".join(lines)


def _row_name(row: str) -> str:
    return " + ".join(f"({member})" for member in row.split(" + ")) if "," in row else row


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(column: str, cell: Cell) -> tuple[str, str]:
    places = 2 if is_share(column) else 3
    if cell.ours is None:
        return f"{cell.paper:.{places}f}", _NOTHING
    text, spread = f"{cell.ours.mean:.{places}f}", cell.ours.spread
    low, high = cell.ours.interval_95 or (0.0, 0.0)
    if spread is not None:
        text += f" ± {spread:.{places}f}" if round(spread, places) else ""  # no seed changes it
    elif low < high:
        text += f" ({low:.1f}–{high:.1f})"
    return f"{cell.paper:.{places}f}", text


def _insight(one: JudgedInsight) -> str:
    lines = [f"### {one.name}: {one.verdict.value}", ""]
    lines += [f"- **{claim.verdict.value}**: {claim.says}. {claim.numbers}" for claim in one.claims]
    return "\n".join(lines)
