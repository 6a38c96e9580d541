"""What the API answers with, as OpenAPI describes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from spinml.pipeline.stages import StageKind
from spinml.service.models import Run, RunStage, RunState, StageState


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorInfo(_Answer):
    """What failed and what to do about it."""

    code: str = Field(description="Stable, for scripts.")
    message: str
    remedy: str = ""
    details: dict[str, Any] = Field(default_factory=dict)


class ErrorAnswer(_Answer):
    """The body of every answer that is not a success."""

    error: ErrorInfo
    request_id: str | None = Field(default=None, description="For the operator's logs.")


class StageStatus(_Answer):
    """How far one stage is."""

    label: str
    kind: StageKind
    state: StageState
    done: int = Field(description="Units done: steps, images, epochs.")
    total: int = Field(description="Units in all; 0 while not known.")
    unit: str
    seconds: float = Field(description="Time spent on it so far.")


class RunStatus(_Answer):
    """How far a run is."""

    id: UUID
    state: RunState
    created_at: datetime
    updated_at: datetime
    stages: list[StageStatus]
    error: ErrorInfo | None = None


class RunPage(_Answer):
    """Runs, newest first."""

    runs: list[RunStatus]
    next: UUID | None = Field(description="Give it as `after` for the next page; null at the end.")


class StateEvent(_Answer):
    """Data of an event `state`; the last one's state is final."""

    state: RunState
    error: ErrorInfo | None = None


class StageEvent(_Answer):
    """Data of an event `stage`."""

    stage: StageStatus


class Health(_Answer):
    """The service works."""

    status: str = "ok"


def stage_status(stage: RunStage) -> StageStatus:
    return StageStatus(
        label=stage.label,
        kind=StageKind(stage.kind),
        state=StageState(stage.state),
        done=stage.done,
        total=stage.total,
        unit=stage.unit,
        seconds=round(stage.seconds, 3),
    )


def run_status(run: Run) -> RunStatus:
    """The run as its owner sees it: what arrived (source segments) is no work to wait for."""
    return RunStatus(
        id=run.id,
        state=RunState(run.state),
        created_at=run.created_at,
        updated_at=run.updated_at,
        stages=[stage_status(s) for s in run.stages if s.kind != StageKind.SEGMENT],
        error=ErrorInfo.model_validate(run.error) if run.error else None,
    )
