"""A sweep as a whole: trials, outcomes, front and recommendation, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spinml.sweep.front import Outcome, Recommendation, outcomes, pareto_front, recommend
from spinml.sweep.results import FailedTrial, SkippedTrial, TrialRow, shared_compute
from spinml.sweep.spec import SweepSpec


@dataclass(frozen=True)
class SweepCost:
    """What the command that ended the sweep took; trials that were there before are free."""

    seconds: float
    """From start to end."""
    busy_s: float
    """Of these, with a stage or a measurement at home at work: the rest is Tune's and Ray's."""
    executed: int
    """Stages."""


@dataclass(frozen=True)
class SweepResult:
    """All that is known after a sweep of one task."""

    spec: SweepSpec
    folder: Path
    rows: tuple[TrialRow, ...]
    failed: tuple[FailedTrial, ...]
    skipped: tuple[SkippedTrial, ...]
    outcomes: tuple[Outcome, ...]
    front: tuple[Outcome, ...]
    recommendation: Recommendation | None
    """None when no trial was finished, or no accuracy is wanted."""
    cost: SweepCost

    @property
    def compute_share(self) -> float | None:
        """Seconds of all stages, each once, as a share of what as many runs would take that share
        nothing; None without a trial. From the seconds that each stage was measured to take."""
        once, alone = shared_compute(self.rows)
        return once / alone if alone else None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: all but the images."""
        return {
            "name": self.spec.name,
            "wanted_accuracy": self.spec.wanted_accuracy,
            "trials": [row.model_dump() for row in self.rows],
            "failed": [trial.model_dump() for trial in self.failed],
            "skipped": [trial.model_dump() for trial in self.skipped],
            "outcomes": [asdict(one) for one in self.outcomes],
            "front": [one.label for one in self.front],
            "recommendation": asdict(self.recommendation) if self.recommendation else None,
            "cost": asdict(self.cost) | {"compute_share": self.compute_share},
        }


def summarise_sweep(
    spec: SweepSpec,
    folder: Path,
    rows: Sequence[TrialRow],
    failed: Sequence[FailedTrial],
    skipped: Sequence[SkippedTrial],
    cost: SweepCost,
) -> SweepResult:
    """Put together what ``rows`` say."""
    found = outcomes(rows)
    wanted = spec.wanted_accuracy
    return SweepResult(
        spec=spec,
        folder=folder,
        rows=tuple(rows),
        failed=tuple(failed),
        skipped=tuple(skipped),
        outcomes=tuple(found),
        front=tuple(pareto_front(found)),
        recommendation=(
            recommend(found, wanted, spec.sensitivity) if found and wanted is not None else None
        ),
        cost=cost,
    )
