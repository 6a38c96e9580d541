"""What the API answers with, as OpenAPI describes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from spinml.pipeline.stages import StageKind
from spinml.service.ledger import Receipt
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
    idempotency_key: str = Field(description="What it was submitted under.")


class RunPage(_Answer):
    """Runs, newest first."""

    runs: list[RunStatus]
    next: UUID | None = Field(description="Give it as `after` for the next page; null at the end.")


class QuotaStatus(_Answer):
    """What you use and may use; a limit of null is none."""

    weight: float = Field(description="Your share of the queue against the others'.")
    running_runs: int
    queued_runs: int
    max_concurrent_runs: int | None
    images: int = Field(description="In 30 days, with those that your runs will still draw.")
    max_images: int | None
    gpu_seconds: float = Field(description="In 30 days.")
    max_gpu_seconds: float | None
    stored_bytes: int
    max_stored_bytes: int | None


class ErasedArtifact(_Answer):
    """What was erased, by its hashes."""

    kind: StageKind
    digest: str = Field(description="Of the stage's parameters and inputs.")
    size_bytes: int | None = Field(description="null: it was never finished.")
    content_sha256: str | None = Field(description="Over the hashes of its files.")


class ReceiptStatus(_Answer):
    """That something was erased."""

    id: UUID
    run_id: UUID | None = Field(description="The run deleted; null: no run needed these any more.")
    reason: str
    created_at: datetime
    completed_at: datetime | None = Field(description="When all was gone, from every cache, too.")
    kept: int = Field(description="Artifacts of the run that another run of yours holds.")
    artifacts: list[ErasedArtifact]


class ReceiptPage(_Answer):
    """Receipts, newest first."""

    receipts: list[ReceiptStatus]


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
        idempotency_key=run.idempotency_key,
    )


def receipt_status(receipt: Receipt) -> ReceiptStatus:
    """A receipt as its tenant sees it."""
    return ReceiptStatus(
        id=receipt.id,
        run_id=receipt.run_id,
        reason=receipt.reason,
        created_at=receipt.created_at,
        completed_at=receipt.completed_at,
        kept=receipt.kept,
        artifacts=[ErasedArtifact.model_validate(item) for item in receipt.artifacts],
    )
