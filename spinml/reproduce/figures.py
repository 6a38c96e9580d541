"""Figures 3-6: trade-offs of each task, and synthetic images by preference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spinml.home.photos import shipped_home
from spinml.images import Photo, decode_photo
from spinml.report.plots import image_grid
from spinml.report.sweep_plots import tradeoff_figure
from spinml.reproduce.experiments import EXPERIMENTS, Experiment, labelled
from spinml.reproduce.paper import paper_tables
from spinml.sweep.front import Outcome, pareto_front
from spinml.sweep.summary import SweepResult

SHOWN = {
    "pet": ("4a", "figure-4", ("L0,L0", "L1,L0", "L2,L0")),
    "human": ("4b", "figure-5", ("L0,L0", "L0,L1", "L0,L2", "L1,L1", "L2,L2")),
    "bottle": ("4c", "figure-6", ("L0,L0", "L0,L1", "L0,L2", "L1,L2", "L2,L2")),
}
"""By experiment: the table whose preferences figure 3 shows, and which preferences appendix A's
figure shows."""


def draw_figures(sweeps: Mapping[str, SweepResult]) -> dict[str, bytes]:
    """File name → PNG of every figure for which something was measured."""
    figures = {}
    for name, (table, images, preferences) in SHOWN.items():
        result = sweeps.get(name)
        if result is None:
            continue
        experiment = EXPERIMENTS[name]
        if found := _outcomes(result, experiment, list(paper_tables()[table].rows)):
            figures[f"figure-3-{name}.png"] = tradeoff_figure(found, pareto_front(found))
        if rows := _rows(result, experiment, preferences):
            columns = [label for label, _ in result.rows[0].samples]
            raw = ("raw photo", _raw(experiment, columns))
            figures[f"{images}.png"] = image_grid(columns, [raw, *rows])
    return figures


def _outcomes(
    result: SweepResult, experiment: Experiment, conditions: Sequence[str]
) -> list[Outcome]:
    labels = {condition.label for condition in labelled(experiment, conditions).values()}
    return [one for one in result.outcomes if one.label in labels]


def _rows(
    result: SweepResult, experiment: Experiment, preferences: Sequence[str]
) -> list[tuple[str, list[Photo]]]:
    """A synthetic image a class, of each preference's first seed."""
    found = []
    for name, condition in labelled(experiment, preferences).items():
        row = next((row for row in result.rows if row.label == condition.label), None)
        if row is not None:
            images = [decode_photo(result.folder / file) for _, file in row.samples]
            found.append((f"({name})", images))
    return found


def _raw(experiment: Experiment, classes: Sequence[str]) -> list[Photo]:
    """A labelled photo a class; these homes are rendered, and come with the package."""
    home = shipped_home(experiment.home)
    if home.detection:
        return [decode_photo(home.test_photos()[0])]
    first = {label: photo for photo, label in reversed(home.test())}
    return [decode_photo(first[label]) for label in classes]
