"""What of the tables can be run with this checkpoint and this segmenter, and what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from spinml.config import ServerConfig
from spinml.device.bundled import bundled_segmenter
from spinml.device.segmenter import Segmenter
from spinml.errors import UnknownObjectError
from spinml.reproduce.experiments import (
    EXPERIMENTS,
    GENERIC,
    Experiment,
    conditions_of,
    experiment_of,
    fields_of,
    source_of,
)
from spinml.reproduce.paper import paper_tables
from spinml.request import DEFAULT_FEATURE, Scheme
from spinml.synthesis.identity import expandable_features


@dataclass(frozen=True)
class LeftOut:
    """Rows that are not measured, and why."""

    tables: tuple[str, ...]
    what: str
    reason: str


@dataclass(frozen=True)
class Selection:
    """What is run."""

    tables: tuple[str, ...]
    conditions: dict[str, tuple[str, ...]]
    """By experiment, as the paper writes them."""
    left_out: tuple[LeftOut, ...]


def select(
    tables: Sequence[str],
    config: ServerConfig,
    *,
    generic_detector: str | None = None,
    segmenter: Segmenter | None = None,
) -> Selection:
    """Choose what can be run of ``tables``.

    Args:
        generic_detector: for table 7's bottle; without one that row is left out.
        segmenter: the device's; None takes the bundled one.

    Raises:
        ModelFileError: this installation carries no segmenter.
        CheckpointError: the configuration's checkpoint is not there.
    """
    segmenter = segmenter or Segmenter(bundled_segmenter())
    features = expandable_features(config.checkpoint)
    chosen: dict[str, tuple[str, ...]] = {}
    left_out: list[LeftOut] = []
    for one in EXPERIMENTS.values():
        wanted = conditions_of(one, tables)
        if not wanted:
            continue
        try:
            segmenter.classes_of(one.objects)
        except UnknownObjectError as error:
            left_out.append(LeftOut(_tables(one, tables, wanted), one.name, error.message))
            continue
        lacking = {name: _lacking(one, name, features) for name in wanted}
        if without := [name for name, feature in lacking.items() if feature]:
            named = ", ".join(f"({name})" for name in without)
            missed = " and ".join(sorted({str(lacking[name]) for name in without}))
            reason = f"the checkpoint has no ControlNet for {missed}"
            touched = _tables(one, tables, without)
            left_out.append(LeftOut(touched, f"{one.name}: {named}", reason))
        if runnable := tuple(name for name, feature in lacking.items() if not feature):
            chosen[one.name] = runnable
    if GENERIC in tables and generic_detector is None:
        reason = "the bundled encoder cannot detect; name a model with --generic-detector"
        left_out.append(LeftOut((GENERIC,), "bottle", reason))
    return Selection(tuple(tables), chosen, tuple(left_out))


def _tables(
    experiment: Experiment, tables: Sequence[str], conditions: Sequence[str]
) -> tuple[str, ...]:
    """Which of ``tables`` show one of the experiment's ``conditions``."""
    shown = {(experiment.name, condition) for condition in conditions}
    found = []
    for table in tables:
        rows = paper_tables()[table].rows
        sources = [source for row in rows if (source := source_of(table, row))]
        if any((one.name, condition) in shown for one, condition in sources):
            found.append(table)
    return tuple(found)


def _lacking(experiment: Experiment, condition: str, features: frozenset[str] | None) -> str | None:
    """The L1 feature of a condition that has no ControlNet; None where nothing lacks."""
    if features is None:
        return None
    fields = fields_of(condition, experiment.segments)
    for member in (fields["privacy"], *fields.get("mixture", ())):
        for segment, scheme in member.items():
            feature = experiment.features.get(segment, DEFAULT_FEATURE)
            if scheme == Scheme.L1 and feature not in features:
                return feature
    return None


def datasets_of_generic(tables: Sequence[str], generic_detector: str | None) -> list[Experiment]:
    """The experiments whose photos table 7's generic models are asked about."""
    if GENERIC not in tables:
        return []
    asked = [experiment_of(GENERIC, row) for row in paper_tables()[GENERIC].rows]
    return [one for one in asked if one.name != "bottle" or generic_detector is not None]
