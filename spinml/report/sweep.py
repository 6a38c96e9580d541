"""The report of a sweep as one self-contained HTML file: no script, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from spinml import __version__
from spinml.report.html import duration
from spinml.report.sweep_plots import pareto_plot, tradeoff_panels
from spinml.sweep.estimates import Estimate
from spinml.sweep.front import Outcome
from spinml.sweep.results import TrialRow
from spinml.sweep.summary import SweepResult


def render_sweep_report(results: Sequence[SweepResult]) -> str:
    """One report of one or more sweeps, one a task; their images are read from their folders.

    It has, for each: the recommendation, Figure 3's panels, the Pareto front, a table as tables 3
    and 4, images as Figures 4-6, what was broken or left out, and the cost.
    """
    environment = Environment(
        loader=PackageLoader("spinml.report"), autoescape=True, undefined=StrictUndefined
    )
    views = [_view(result) for result in results]
    return environment.get_template("sweep.html.j2").render(version=__version__, sweeps=views)


def _view(result: SweepResult) -> dict[str, Any]:
    spec, found, front = result.spec, result.outcomes, result.front
    best = {one.label for one in front}
    segments = list(found[0].mi) if found else []
    request = next(one.request for one in spec.conditions() if one.request is not None)
    return {
        "name": spec.name,
        "request": request,
        "recommendation": result.recommendation,
        "utility_name": found[0].utility_name if found else "",
        "segments": segments,
        "panels": tradeoff_panels(found, front) if found else {},
        "pareto": pareto_plot(found, front, spec.sensitivity, spec.wanted_accuracy)
        if found
        else "",
        "outcomes": [_row(one, segments, one.label in best) for one in found],
        "classes": [label for label, _ in result.rows[0].samples] if result.rows else [],
        "grid": [(one.label, _images(result, one)) for one in found],
        "photos": max((row.photos for row in result.rows), default=0),
        "failed": result.failed,
        "skipped": result.skipped,
        "trials": len(result.rows),
        "share": result.compute_share,
        "stages": result.cost.executed,
        "took": duration(result.cost.seconds),
    }


def _row(one: Outcome, segments: Sequence[str], on_front: bool) -> dict[str, Any]:
    interval = one.interval
    return {
        "label": one.label,
        "on_front": on_front,
        "seeds": len(one.seeds),
        "utility": _share(one.utility),
        "interval": f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}" if interval else "–",
        "synthetic": _share(one.synthetic),
        "mi": [_share(one.mi[name], 2) for name in segments],
        "sim": [f"{one.sim[name].mean:.3f}" for name in segments],
    }


def _share(found: Estimate, places: int = 1) -> str:
    spread = f" ± {100 * found.spread:.{places}f}" if found.spread is not None else ""
    return f"{100 * found.mean:.{places}f}{spread} %"


def _images(result: SweepResult, one: Outcome) -> list[str]:
    """One synthetic image a class, of the condition's first seed, as data URIs."""
    row: TrialRow = next(row for row in result.rows if row.label == one.label)
    images = []
    for _, file in row.samples:
        png = (result.folder / file).read_bytes()
        images.append(f"data:image/png;base64,{base64.b64encode(png).decode()}")
    return images
