"""How a trial's run is carried out: the same questions to this cluster and to a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from spinml.pipeline.stages import StageStanding
from spinml.privacy.sanitizer import Sanitized
from spinml.sweep.results import StageCost
from spinml.tradeoffs.trials import Trial


class StageNews(StageStanding, Protocol):
    """How far a stage is, for people: the executor's events and the service's are such."""

    @property
    def label(self) -> str: ...


OnNews = Callable[[StageNews], None]


@dataclass(frozen=True)
class Carried:
    """What a run left behind, of which the device measures the rest at home."""

    model: Path
    embeddings: Path
    synthetic_utility: float
    """On synthetic images that training did not see."""
    synthetic_objects: Mapping[str, float]
    """A detector's AP50 on them by target object."""
    samples: Mapping[str, bytes]
    """The first synthetic image of each class, PNG."""
    stages: tuple[StageCost, ...]
    """What each took whoever executed it; one that was erased has no cost."""
    executed: tuple[str, ...]
    """Digests of those that this run executed."""


class Carrier(Protocol):
    """Carries out the runs of trials; called by several threads at once."""

    def carry_out(self, trial: Trial, sanitized: Sanitized, into: Path, tell: OnNews) -> Carried:
        """Have the trial's run executed, and fetch what came of it ``into`` a folder.

        Raises:
            SpinMLError: the run failed, was cancelled, or could not begin.
        """

    def give_up(self, trial: Trial) -> bool:
        """End the trial's run, which waits or runs; False where it has none, or has ended."""

    def close(self) -> None:
        """End what the carrier itself keeps running."""
