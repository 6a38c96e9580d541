"""What a run tells about its stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from spinml.distributed.board import Standing
from spinml.pipeline.stages import Stage, StageKind


class StageState(StrEnum):
    """Where a stage stands."""

    WAITING = "waiting"
    """For its inputs, for a node, or for another run that is making the same artifact."""
    RUNNING = "running"
    """A worker executes it."""
    DONE = "done"
    REUSED = "reused"
    """Its artifact was there, or nothing that is missing needs it."""
    FAILED = "failed"
    """It raised, or was stopped because the run was cancelled or another stage failed."""


@dataclass(frozen=True)
class StageEvent:
    """A change of a stage; carries ids, counts and the stage's label, nothing private."""

    digest: str
    kind: StageKind
    label: str
    state: StageState
    done: int = 0
    total: int = 0
    """0: not known yet."""
    unit: str = ""
    seconds: float = 0.0
    """Since its worker began: what it waited for a node and a process does not count."""


OnEvent = Callable[[StageEvent], None]


def stage_event(
    stage: Stage, state: StageState, standing: Standing | None = None, seconds: float = 0.0
) -> StageEvent:
    """The event that ``stage`` is in ``state``."""
    at = standing or Standing(0, 0, "")
    return StageEvent(
        digest=stage.digest,
        kind=stage.kind,
        label=stage.label or stage.kind.value,
        state=state,
        done=at.done,
        total=at.total,
        unit=at.unit,
        seconds=round(seconds, 2),
    )
