"""Plots of a sweep: Figure 3's panels, and the Pareto front (§5.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spinml.report.plots import ACCENT, GRID, INK, SOFT, STYLE, to_png, to_svg
from spinml.sweep.front import Outcome, disclosure

_COLOURS = ("#2f6f6a", "#d98e4a", "#5b6bb0", "#a8486b", "#7a8b3a", "#6b6459")
_MEASURES = ("MI", "SIM")


def tradeoff_panels(found: Sequence[Outcome], front: Sequence[Outcome]) -> dict[str, str]:
    """Figure 3: utility over the leakage of each segment, by MI and by SIM; top left is better.

    A line joins conditions that differ in that segment's scheme alone, all others fixed. Those on
    the front are filled.

    Args:
        found: at least one.

    Returns:
        Title of each panel → SVG, in the figure's order: MI of every segment, then SIM.
    """
    best = {one.label for one in front}
    segments = list(found[0].mi)
    return {
        f"{measure} of the {segment}": _panel(found, best, measure, segment)
        for measure in _MEASURES
        for segment in segments
    }


def tradeoff_figure(found: Sequence[Outcome], front: Sequence[Outcome]) -> bytes:
    """All of :func:`tradeoff_panels` side by side as one PNG, as the paper's Figure 3 has them."""
    best = {one.label for one in front}
    segments = list(found[0].mi)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(segments), 6.8), layout="constrained")
        grid = figure.subplots(len(_MEASURES), len(segments), squeeze=False)
        for row, measure in zip(grid, _MEASURES, strict=True):
            for axes, segment in zip(row, segments, strict=True):
                _draw_panel(axes, found, best, measure, segment)
        return to_png(figure)


def _panel(found: Sequence[Outcome], best: set[str], measure: str, segment: str) -> str:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.5), layout="constrained")
        _draw_panel(figure.subplots(), found, best, measure, segment)
        return to_svg(figure)


def _draw_panel(
    axes: Axes, found: Sequence[Outcome], best: set[str], measure: str, segment: str
) -> None:
    share = measure == "MI"

    def leakage(one: Outcome) -> float:
        return 100 * one.mi[segment].mean if share else one.sim[segment].mean

    for colour, (fixed, line) in zip(_cycle(), _lines(found, segment).items(), strict=False):
        axes.plot(
            [leakage(one) for one in line],
            [100 * one.utility.mean for one in line],
            color=colour,
            lw=1.4,
            alpha=0.75,
            label=fixed,
            zorder=1,
        )
    _points(axes, [(leakage(one), one) for one in found], best)
    axes.set(
        xlabel=f"{measure} of the {segment}" + (" (%)" if share else ""),
        ylabel=f"{found[0].utility_name} (%)",
    )
    axes.ticklabel_format(useOffset=False)
    axes.locator_params(axis="x", nbins=5)  # more would overlap: a SIM has four digits
    axes.margins(0.14, 0.2)
    axes.grid(color=GRID, lw=0.8)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=7, loc="best")


def _lines(found: Sequence[Outcome], segment: str) -> dict[str, list[Outcome]]:
    """Conditions of one preference each, joined where only the scheme of ``segment`` differs."""
    groups: dict[str, list[Outcome]] = {}
    for one in found:
        if len(one.members) == 1:
            groups.setdefault(_fixed(one.members[0], segment), []).append(one)
    ordered = {
        name: sorted(group, key=lambda one: one.members[0][segment])
        for name, group in groups.items()
    }
    return {name: group for name, group in ordered.items() if len(group) > 1}


def _fixed(schemes: Mapping[str, str], segment: str) -> str:
    return ", ".join(f"{name} {scheme}" for name, scheme in schemes.items() if name != segment)


def pareto_plot(
    found: Sequence[Outcome],
    front: Sequence[Outcome],
    sensitivity: Mapping[str, float],
    wanted: float | None,
) -> str:
    """Utility with its 95 % interval over what is disclosed, and the front among them.

    The front is that of utility and of each segment's MI; drawn over their sum by sensitivity, a
    point of it may stand below another.
    """
    best = {one.label for one in front}

    def told(one: Outcome) -> float:
        return 100 * disclosure(one, sensitivity)[0]

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.0), layout="constrained")
        axes = figure.subplots()
        if wanted is not None:
            axes.axhline(100 * wanted, color=SOFT, lw=1, ls="--", zorder=0)
            axes.annotate(
                f"wanted {wanted:.0%}", (0.01, 100 * wanted), xycoords=("axes fraction", "data"),
                ha="left", va="bottom", color=SOFT, fontsize=8,
            )  # fmt: skip
        line = sorted(front, key=told)
        heights = [100 * one.utility.mean for one in line]
        axes.plot([told(one) for one in line], heights, color=ACCENT, lw=1.2, zorder=1)
        for one in found:
            if one.interval is not None:
                low, high = (100 * end for end in one.interval)
                axes.vlines(told(one), low, high, color=GRID if one.label not in best else ACCENT,
                            lw=1, zorder=0)  # fmt: skip
        _points(axes, [(told(one), one) for one in found], best)
        weights = " + ".join(
            (f"{sensitivity[name]:g} · " if sensitivity.get(name, 1.0) != 1 else "") + name
            for name in found[0].mi
        )
        axes.set(xlabel=f"MI, {weights} (%)", ylabel=f"{found[0].utility_name} (%)")
        axes.margins(0.1, 0.1)
        axes.grid(color=GRID, lw=0.8)
        return to_svg(figure)


def _points(axes: Axes, placed: Sequence[tuple[float, Outcome]], best: set[str]) -> None:
    """Points with their names; names of points that lie together stand above each other."""
    for x, one in placed:
        fill = ACCENT if one.label in best else "white"
        axes.scatter(x, 100 * one.utility.mean, s=30, color=fill, edgecolor=ACCENT, zorder=3)
    span_x = max(x for x, _ in placed) - min(x for x, _ in placed) or 1.0
    heights = [100 * one.utility.mean for _, one in placed]
    span_y = max(heights) - min(heights) or 1.0
    set_down: list[tuple[float, float]] = []
    for x, one in sorted(placed, key=lambda item: 100 * item[1].utility.mean):
        y = 100 * one.utility.mean
        near = [
            p for p in set_down if abs(p[0] - x) < 0.22 * span_x and abs(p[1] - y) < span_y / 12
        ]
        set_down.append((x, y))
        axes.annotate(
            one.label, (x, y), xytext=(5, 4 + 9 * len(near)), textcoords="offset points",
            fontsize=7, color=INK, zorder=4,
        )  # fmt: skip


def _cycle() -> Iterable[Any]:
    while True:
        yield from _COLOURS
