"""Tables put together: the paper's number beside ours, cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from spinml.reproduce.experiments import EXPERIMENTS, GENERIC, labelled, source_of
from spinml.reproduce.paper import paper_tables
from spinml.sweep.estimates import Estimate, estimate
from spinml.sweep.results import TrialRow

CAPTIONS = {
    "3a": "Utility, pet (the paper's husky): accuracy",
    "3b": "Utility, human: accuracy",
    "3c": "Utility, bottle: mAP50",
    "4a": "Privacy, pet (the paper's husky)",
    "4b": "Privacy, human",
    "4c": "Privacy, bottle",
    "4d": "Privacy leakage from text prompts: SIM, with an empty prompt as baseline",
    "5": "Noise on the pet's pixels",
    "6": "Two objects (pill bottle, photo frame, background): mAP50 of the pill bottle",
    "6-frame": "Two objects: leakage of the photo frame (§5.6)",
    "7": "Generic models, not trained for the home: accuracy, or mAP50",
}
Read = Callable[[TrialRow], float | None]


@dataclass(frozen=True)
class Cell:
    """One number in the paper and here, in the paper's units: percent, or a cosine for SIM."""

    paper: float
    ours: Estimate | None
    """Over seeds, of one seed see :func:`_of_one_seed`; None: not measured."""
    seeds: Mapping[int, float] = field(default_factory=dict)
    """Each seed's; empty where ``ours`` is None, and in table 7, whose figures are of no seed."""
    unmeasurable: bool = False
    """The trials are there, and the embedder reads no prompts."""


@dataclass(frozen=True)
class Table:
    """A table of the paper with ours beside."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[Cell, ...]]

    def cell(self, row: str, column: str) -> Cell:
        """The cell at ``row`` and ``column``."""
        return self.rows[row][self.columns.index(column)]

    @property
    def complete(self) -> bool:
        """Whether every cell has a figure of ours that can have one."""
        cells = [cell for row in self.rows.values() for cell in row]
        return all(cell.ours is not None or cell.unmeasurable for cell in cells)


def is_share(column: str) -> bool:
    """Whether a column is in percent; SIM's are cosines."""
    return column in ("synthetic", "real") or column.startswith("MI")


def assemble(
    tables: Sequence[str],
    rows: Mapping[str, Sequence[TrialRow]],
    generic: Mapping[str, Estimate],
) -> dict[str, Table]:
    """The tables with what was measured.

    Args:
        tables: their names.
        rows: finished trials by experiment.
        generic: table 7's figures in percent, by data set.
    """
    return {name: _assemble(name, rows, generic) for name in tables}


def _assemble(
    name: str, rows: Mapping[str, Sequence[TrialRow]], generic: Mapping[str, Estimate]
) -> Table:
    printed = paper_tables()[name]
    found: dict[str, tuple[Cell, ...]] = {}
    for row in printed.rows:
        if name == GENERIC:
            found[row] = (Cell(printed.value(row, "real"), generic.get(row)),)
            continue
        group = _trials(name, row, rows)
        found[row] = tuple(
            _measured(group, name, column, printed.value(row, column)) for column in printed.columns
        )
    return Table(name, CAPTIONS[name], printed.columns, found)


def _trials(name: str, row: str, rows: Mapping[str, Sequence[TrialRow]]) -> list[TrialRow]:
    source = source_of(name, row)
    if source is None:
        return []
    experiment, condition = source
    label = labelled(experiment, [condition])[condition].label
    return [one for one in rows.get(experiment.name, ()) if one.label == label]


def _measured(group: Sequence[TrialRow], table: str, column: str, paper: float) -> Cell:
    read = _reader(table, column)
    scale = 100 if is_share(column) else 1
    values = {row.seed: read(row) for row in group}
    seeds = {seed: scale * value for seed, value in values.items() if value is not None}
    found = estimate(list(seeds.values())) if len(seeds) == len(values) else None
    if found is None:
        return Cell(paper, None, unmeasurable=bool(values) and _is_of_prompts(column))
    if len(group) == 1:
        found = replace(found, interval_95=_of_one_seed(group[0], table, column, found.mean))
    return Cell(paper, found, seeds)


def _of_one_seed(
    row: TrialRow, table: str, column: str, figure: float
) -> tuple[float, float] | None:
    """The 95 % interval of a figure that one seed gave, where it has one.

    An accuracy's is over the test photos: what another seed would give it does not say. MI and the
    prompts' SIM follow from photos and what was sent, so that every seed gives the same.
    """
    if column == "real" and table != "6" and row.utility_interval is not None:
        low, high = row.utility_interval
        return 100 * low, 100 * high
    if column.startswith("MI") or _is_of_prompts(column):
        return figure, figure
    return None


def _is_of_prompts(column: str) -> bool:
    return column.endswith(("SpinML", "baseline"))


def _reader(table: str, column: str) -> Read:
    """How a column's figure is read from a trial."""
    if table == "6":
        return _of_first_object(column)
    if column == "real":
        return lambda row: row.utility
    if column == "synthetic":
        return lambda row: row.synthetic_utility
    if column == "MI photo frame":
        return lambda row: row.leakage["target_2"].mi
    first, second = column.split()
    if first == "MI":
        return lambda row: row.leakage[second].mi
    if first == "SIM":
        return lambda row: row.leakage[second].sim
    if second == "baseline":
        return lambda row: row.leakage[first].empty_prompt_sim
    return lambda row: row.leakage[first].prompt_sim


def _of_first_object(column: str) -> Read:
    """Table 6 is about the pill bottle, not about the mean over both objects."""
    bottle = EXPERIMENTS["two_objects"].objects[0]

    def read(row: TrialRow) -> float | None:
        found = row.objects.get(bottle)
        if found is None:
            return None
        return found.utility if column == "real" else found.synthetic_utility

    return read
