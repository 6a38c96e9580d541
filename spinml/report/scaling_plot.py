"""The plot of a :class:`spinml.report.scaling.Timeline`."""

from __future__ import annotations

from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from spinml.pipeline.stages import StageKind
from spinml.report.plots import ACCENT, GRID, INK, SOFT, STYLE, to_png
from spinml.report.scaling import Execution, Timeline

_COLOURS = {
    StageKind.EXPAND: "#a8486b",
    StageKind.PRIOR: "#b9a13c",
    StageKind.FINETUNE: "#5b6bb0",
    StageKind.MERGE: "#6b6459",
    StageKind.DRAW: "#d98e4a",
    StageKind.GENERATE: "#2f6f6a",
    StageKind.TRAIN: "#7a8b3a",
    StageKind.EXPORT: "#b8b1a6",
    StageKind.MEASURE: "#8f9aa5",
}


def scaling_plot(timeline: Timeline) -> bytes:
    """Nodes and GPUs in use over time, and below them what each node executed; PNG.

    A row is a node, in the order of their coming; its ground is tinted while it is there. What was
    lost with its node or process has no right edge, and is hatched.
    """
    rows = max(1, len(timeline.nodes))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.4 + 0.52 * rows), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.1, 0.9 + 0.52 * rows))
        _draw_cluster(above, timeline)
        _draw_nodes(below, timeline)
        for axes in (above, below):
            for at in _marks(timeline):
                axes.axvline(at, color=INK, lw=0.8, ls=":", zorder=5)
        # The last two are close together where nodes go soon: one on each side.
        for (at, text), side in zip(_marks(timeline).items(), _SIDES, strict=False):
            above.annotate(
                text, (at, 1.03), xycoords=("data", "axes fraction"), ha=side, va="bottom",
                color=INK, fontsize=8.5,
            )  # fmt: skip
        below.set_xlim(0, timeline.samples[-1].at_s)
        return to_png(figure)


_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right", "left")


def _marks(timeline: Timeline) -> dict[float, str]:
    marks = {timeline.began_s: "sweep begins", timeline.ended_s: "sweep ends"}
    if timeline.emptied_s is not None:
        marks[timeline.emptied_s] = "nodes gone"
    return marks


def _draw_cluster(axes: Axes, timeline: Timeline) -> None:
    at = [sample.at_s for sample in timeline.samples]
    series = (
        ("GPUs that there are", [s.gpus for s in timeline.samples], "#c9d8d6", True),
        ("GPUs in use", [s.gpus_in_use for s in timeline.samples], ACCENT, True),
        ("stages under way", [float(s.under_way) for s in timeline.samples], SOFT, False),
        ("GPU nodes", [float(len(s.nodes)) for s in timeline.samples], INK, False),
    )
    for label, values, colour, filled in series:
        if filled:
            axes.fill_between(at, values, step="post", color=colour, lw=0, label=label)
        else:
            axes.step(at, values, where="post", color=colour, lw=1.5, label=label)
    axes.set_ylabel("number")
    axes.set_ylim(0, 1.12 * max(1.0, *(max(values) for _, values, _, _ in series)))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8.5)


def _draw_nodes(axes: Axes, timeline: Timeline) -> None:
    nodes = timeline.nodes
    end = timeline.samples[-1].at_s
    for row, node in enumerate(nodes):
        there = [sample.at_s for sample in timeline.samples if node in sample.nodes]
        axes.barh(row, there[-1] - there[0], left=there[0], height=0.86, color="#eef3f2", lw=0)
        own = [one for one in timeline.executions if one.node == node]
        lanes = _lanes(own)
        count = max(lanes, default=0) + 1
        for one, lane in zip(own, lanes, strict=True):
            height = 0.8 / count
            axes.barh(
                row - 0.4 + height * (lane + 0.5),
                (end if one.ended_s is None else one.ended_s) - one.began_s,
                left=one.began_s,
                height=0.9 * height,
                color=_COLOURS[one.kind],
                edgecolor="white",
                hatch="////" if one.ended_s is None else None,
                lw=0.4,
                zorder=3,
            )
    axes.set_yticks(range(len(nodes)), [f"node {row + 1}" for row in range(len(nodes))])
    axes.set_ylim(max(len(nodes), 1) - 0.5, -0.5)
    axes.set_xlabel("seconds")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    used = {one.kind for one in timeline.executions}
    axes.legend(
        handles=[
            Patch(color=colour, label=kind.value)
            for kind, colour in _COLOURS.items()
            if kind in used
        ],
        title="at work by node",
        loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8.5,
        title_fontsize=8.5, alignment="left",
    )  # fmt: skip


def _lanes(executions: list[Execution]) -> list[int]:
    """A lane for each, in the order of their beginning, so that none overlaps in its lane."""
    free_at: list[float] = []
    lanes = []
    for one in executions:
        lane = next((n for n, at in enumerate(free_at) if at <= one.began_s), len(free_at))
        if lane == len(free_at):
            free_at.append(0.0)
        free_at[lane] = one.ended_s if one.ended_s is not None else float("inf")
        lanes.append(lane)
    return lanes
