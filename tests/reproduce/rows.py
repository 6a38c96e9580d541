"""Finished trials that have the paper's own figures."""

from __future__ import annotations

import zlib

from spinml.reproduce.experiments import EXPERIMENTS, labelled, source_of
from spinml.reproduce.paper import paper_tables
from spinml.sweep.results import ObjectUtility, SegmentLeakage, TrialRow
from tests.sweep.rows import row as made_up

FIGURES = ("MI target", "MI background", "SIM target", "SIM background")


def paper_rows(name: str, seeds: int, *, jitter: float = 0.0) -> list[TrialRow]:
    """Trials of an experiment as the paper measured it, utility off by up to ``jitter`` a seed.

    What the paper does not print is 0.
    """
    experiment = EXPERIMENTS[name]
    known: dict[str, dict[str, float]] = {}
    for table, printed in paper_tables().items():
        for row in printed.rows:
            source = source_of(table, row)
            if source is None or source[0] is not experiment or table == "4d":
                continue
            values = dict(zip(printed.columns, printed.rows[row], strict=True))
            known[source[1]] = known.get(source[1], {}) | values
    labels = labelled(experiment, list(known))
    return [
        _row(name, labels[condition].label, figures, seed, jitter)
        for condition, figures in known.items()
        for seed in range(seeds)
    ]


def _row(name: str, label: str, figures: dict[str, float], seed: int, jitter: float) -> TrialRow:
    experiment = EXPERIMENTS[name]
    off = jitter * (seed - 1)
    real = figures.get("real", 0.0) / 100 + off
    synthetic = figures.get("synthetic", 0.0) / 100 + off
    leakage = {
        segment: SegmentLeakage(
            mi=figures.get(f"MI {segment}", 0.0) / 100,
            mi_regional=0.0,
            sim=figures.get(f"SIM {segment}", 0.0),
            prompt_sim=_prompt(experiment.dataset, segment, "SpinML"),
            empty_prompt_sim=_prompt(experiment.dataset, segment, "baseline"),
        )
        for segment in experiment.segments
    }
    objects = {}
    if name == "two_objects":
        leakage["target_2"] = leakage["target_2"].model_copy(
            update={"mi": figures.get("MI photo frame", 0.0) / 100}
        )
        # Before the bottle: which object a figure is of must not depend on their order.
        objects["photo frame"] = ObjectUtility(utility=0.01, synthetic_utility=0.02)
        objects["pill bottle"] = ObjectUtility(utility=real, synthetic_utility=synthetic)
    return made_up(
        "L0,L0",
        real,
        seed=seed,
        id=f"{zlib.crc32(label.encode())}-{seed}",
        label=label,
        synthetic_utility=synthetic,
        leakage=leakage,
        objects=objects,
        members=(dict.fromkeys(experiment.segments, "L0"),),
    )


def _prompt(dataset: str, segment: str, which: str) -> float | None:
    if dataset not in paper_tables()["4d"].rows or segment == "target_2":
        return None
    return paper_tables()["4d"].value(dataset, f"{segment} {which}")
