"""State changes with their events: whoever writes the one here writes the other with it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from spinml.pipeline.stages import StageKind
from spinml.service.ledger import Charge
from spinml.service.models import Event, Run, RunStage, RunState, StageState, now
from spinml.service.schemas import ErrorInfo, StageEvent, StateEvent, stage_status


def record_state(
    session: Session, run: Run, state: RunState, error: dict[str, Any] | None = None
) -> None:
    """Put a run into ``state``; a final state gives its lease back."""
    run.state = state
    run.error = error
    if state is not RunState.RUNNING:
        run.lease_owner = run.lease_until = None
    event = StateEvent(state=state, error=ErrorInfo.model_validate(error) if error else None)
    _append(session, run, "state", event.model_dump(mode="json"))


def record_stage(session: Session, run: Run, stage: RunStage) -> None:
    """Tell a stage as it stands now; one that ended is charged in the same transaction."""
    if stage.seconds > 0 and stage.state not in (StageState.WAITING, StageState.RUNNING):
        _charge(session, run, stage)
    event = StageEvent(stage=stage_status(stage))
    _append(session, run, "stage", event.model_dump(mode="json"))


def settle_stages(session: Session, run: Run, state: RunState) -> None:
    """A stage that was under way ends as its run ends."""
    ending = StageState.CANCELLED if state is RunState.CANCELLED else StageState.FAILED
    for stage in run.stages:
        if stage.state == StageState.RUNNING:
            stage.state = ending
            record_stage(session, run, stage)
        elif stage.state == StageState.WAITING and state is RunState.CANCELLED:
            stage.state = StageState.CANCELLED


def _charge(session: Session, run: Run, stage: RunStage) -> None:
    """Charge what this run executed of a stage.

    One charge for each stage of a run: where a dispatcher took the stage up again, what the last
    one needed stands. A stage that was reused has no seconds of this run, unless its dispatcher
    died under it: between the artifact and the report, or before another run made the artifact,
    whose images these are then.
    """
    drawn = stage.kind == StageKind.GENERATE and (
        stage.state == StageState.DONE
        or (stage.state == StageState.REUSED and not _made_by_another(session, run, stage))
    )
    session.merge(
        Charge(
            run_id=run.id,
            digest=stage.digest,
            tenant_id=run.tenant_id,
            kind=stage.kind,
            gpu_seconds=stage.seconds * stage.gpus,
            images=stage.images if drawn else 0,
            at=now(),
        )
    )


def _made_by_another(session: Session, run: Run, stage: RunStage) -> bool:
    """Whether another run of the tenant made the stage's artifact, or is about to say so."""
    query = (
        select(RunStage.run_id)
        .join(Run, Run.id == RunStage.run_id)
        .where(
            Run.tenant_id == run.tenant_id,
            RunStage.digest == stage.digest,
            RunStage.run_id != run.id,
            RunStage.state.in_((StageState.RUNNING, StageState.DONE)),
        )
    )
    return session.scalar(query.limit(1)) is not None


def _append(session: Session, run: Run, kind: str, data: dict[str, Any]) -> None:
    run.last_event += 1
    run.updated_at = now()
    session.add(Event(run_id=run.id, seq=run.last_event, kind=kind, data=data))
