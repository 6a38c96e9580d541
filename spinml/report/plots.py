"""Plots of the report, as self-contained SVG text. One look for all of them."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from spinml.images import Photo

INK, ACCENT, SOFT, GRID = "#24292f", "#2f6f6a", "#d98e4a", "#e6e2da"

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "spinml",
}


def training_curves(history: Sequence[dict[str, Any]]) -> str:
    """Loss and accuracy by epoch, training beside validation.

    Args:
        history: one dict an epoch with ``epoch``, ``train_loss``, ``validation_loss``,
            ``train_accuracy`` and ``validation_accuracy`` (shares).
    """
    epochs = [row["epoch"] for row in history]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.6), layout="constrained")
        for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            for part, colour in (("train", SOFT), ("validation", ACCENT)):
                values = [row[f"{part}_{name}"] for row in history]
                axes.plot(epochs, values, marker="o", ms=4, color=colour, label=part)
            axes.set(xlabel="epoch", ylabel=name, xticks=epochs)
            axes.grid(axis="y", color=GRID, lw=0.8)
            if name == "accuracy":
                axes.set_ylim(0, 1.02)
            axes.legend(frameon=False)
        return to_svg(figure)


def detection_curves(history: Sequence[dict[str, Any]]) -> str:
    """Loss by epoch, training beside validation, and mAP50, precision and recall on validation.

    Args:
        history: one dict an epoch, as :class:`spinml.report.model.DetectionEpoch`.
    """
    epochs = [row["epoch"] for row in history]
    losses = (("train", "train_loss", SOFT), ("validation", "validation_loss", ACCENT))
    shares = (
        ("mAP50", "validation_map50", ACCENT),
        ("precision", "validation_precision", SOFT),
        ("recall", "validation_recall", INK),
    )
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.6), layout="constrained")
        sides = zip(figure.subplots(1, 2), ("loss", "share"), (losses, shares), strict=True)
        for axes, name, lines in sides:
            for label, key, colour in lines:
                values = [row[key] for row in history]
                axes.plot(epochs, values, marker="o", ms=4, color=colour, label=label)
            axes.set(xlabel="epoch", ylabel=name, xticks=epochs)
            axes.grid(axis="y", color=GRID, lw=0.8)
            if lines is shares:
                axes.set_ylim(0, 1.02)
            axes.legend(frameon=False)
        return to_svg(figure)


def confusion_matrix(matrix: npt.ArrayLike, classes: Sequence[str]) -> str:
    """Counts with the share of each true class as shade.

    Args:
        matrix: ``(n, n)`` counts, rows are true classes, columns predicted ones.
        classes: the ``n`` names.
    """
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 1.6 + 0.62 * len(classes)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(side, side), layout="constrained")
        axes = figure.subplots()
        axes.imshow(shares, cmap=_shades(), vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.8 else INK  # where white is the clearer
            axes.text(column, row, f"{count}", ha="center", va="center", color=colour)
        axes.set_xticks(range(len(classes)), classes, rotation=35, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        axes.set(xlabel="predicted", ylabel="true")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        return to_svg(figure)


def stage_times(labels: Sequence[str], seconds: Sequence[float]) -> str:
    """Horizontal bars: where the run's time went."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.6 + 0.28 * len(labels)), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh(range(len(labels)), seconds, color=ACCENT, height=0.62)
        axes.bar_label(bars, [f"{value:.0f} s" for value in seconds], padding=4)
        axes.set_yticks(range(len(labels)), labels)
        axes.invert_yaxis()
        axes.set_xticks([])
        axes.spines[["bottom", "left"]].set_visible(False)
        axes.tick_params(length=0)
        axes.margins(x=0.12)
        return to_svg(figure)


def to_svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element, the same text for the same figure."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), count=1, flags=re.DOTALL)


def to_png(figure: Figure) -> bytes:
    """The figure as PNG at 110 dots an inch, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def image_grid(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Photo]]]) -> bytes:
    """Images by row and column as one PNG, as the paper's Figures 4-6.

    Args:
        columns: their titles.
        rows: at least one; a title and at most one image ``(H, W, 3)`` a column.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.6 * len(columns) + 1.2, 1.6 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), len(columns), squeeze=False)
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        for axes, title in zip(grid[0], columns, strict=True):
            axes.set_title(title, fontsize=9)
        for line, (title, images) in zip(grid, rows, strict=True):
            line[0].set_ylabel(title, fontsize=8)
            for axes, image in zip(line, images, strict=False):
                axes.imshow(image)
        return to_png(figure)


def _shades() -> mpl.colors.Colormap:
    return mpl.colors.LinearSegmentedColormap.from_list("shade", ["#f7f4ee", ACCENT])
