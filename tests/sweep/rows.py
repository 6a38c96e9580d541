"""Finished trials with known figures."""

from __future__ import annotations

from typing import Any

from spinml.sweep.results import SegmentLeakage, StageCost, TrialRow

HUMAN = {
    "L0,L0": (41.20, 0.00, 0.00, 0.54, 0.46),
    "L0,L1": (44.05, 0.02, 0.33, 0.54, 0.55),
    "L0,L2": (49.42, 2.48, 99.21, 0.54, 0.56),
    "L1,L0": (41.54, 0.46, 0.39, 0.56, 0.49),
    "L1,L1": (45.23, 0.42, 0.68, 0.55, 0.56),
    "L1,L2": (42.21, 2.97, 98.48, 0.55, 0.58),
    "L2,L2": (44.22, 3.45, 98.48, 0.64, 0.58),
}
"""The paper's human task: accuracy (table 3b), MI and SIM of target and background (table 4b)."""


def row(
    schemes: str,
    utility: float,
    mi: tuple[float, float] = (0.0, 0.0),
    sim: tuple[float, float] = (0.5, 0.5),
    *,
    seed: int = 0,
    interval: tuple[float, float] | None = None,
    **fields: Any,
) -> TrialRow:
    """A trial of the preference ``"L2,L0"``; shares in [0, 1]."""
    target, background = schemes.split(",")
    data = {
        "id": f"{target}{background}{seed}",
        "label": f"({target}, {background})",
        "task": "classification",
        "seed": seed,
        "members": ({"target": target, "background": background},),
        "utility_name": "accuracy",
        "utility": utility,
        "utility_interval": interval,
        "photos": 200,
        "synthetic_utility": 0.8,
        "leakage": {
            "target": _leakage(mi[0], sim[0]),
            "background": _leakage(mi[1], sim[1]),
        },
        "objects": {},
        "seconds": 10.0,
        "stages": (
            StageCost(digest="shared", kind="finetune", seconds=3.0),
            StageCost(digest=f"{schemes}{seed}", kind="train", seconds=1.0),
        ),
        "executed": (),
        "samples": (),
        "memory_mib": 100.0,
    }
    return TrialRow.model_validate(data | fields)


def _leakage(mi: float, sim: float) -> SegmentLeakage:
    return SegmentLeakage(mi=mi, mi_regional=mi, sim=sim, prompt_sim=0.25, empty_prompt_sim=0.2)


def human_rows(**fields: Any) -> list[TrialRow]:
    return [
        row(name, accuracy / 100, (mi_t / 100, mi_b / 100), (sim_t, sim_b), **fields)
        for name, (accuracy, mi_t, mi_b, sim_t, sim_b) in HUMAN.items()
    ]
