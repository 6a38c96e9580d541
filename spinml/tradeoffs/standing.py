"""Where the trials of a sweep stand, for the live table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TrialState(StrEnum):
    """Where a trial stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Left out by early stopping."""


UNDER_WAY = (TrialState.WAITING, TrialState.RUNNING)
"""It may still come to any end."""


@dataclass(frozen=True)
class Standing:
    """A trial as the live table shows it."""

    label: str
    seed: int
    state: TrialState
    detail: str = ""
    """The stage at work, or why it failed or was skipped."""
    utility: float | None = None
