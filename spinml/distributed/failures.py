"""What went wrong on Ray: the error a stage raised, or a process that died."""

from __future__ import annotations

from ray import exceptions as ray_errors

from spinml.errors import SpinMLError, StageError
from spinml.pipeline.stages import Stage

_DEATHS = (
    ray_errors.ActorDiedError,
    ray_errors.ActorUnavailableError,
    ray_errors.WorkerCrashedError,
    ray_errors.NodeDiedError,
    ray_errors.OutOfMemoryError,
    ray_errors.ObjectLostError,
)


def raised_on_purpose(error: BaseException | None) -> SpinMLError | None:
    """The SpinMLError somewhere in the causes of what Ray raised."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, SpinMLError):
            return error
        seen.add(id(error))
        error = getattr(error, "cause", None) or error.__cause__ or error.__context__
    return None


def worker_died(error: BaseException) -> bool:
    """Whether a process ended under a stage, so that it is worth trying again."""
    if isinstance(error, ray_errors.RayTaskError):
        return worker_died(error.cause) if error.cause is not error else False
    return isinstance(error, _DEATHS)


def stage_error(stage: Stage, error: BaseException) -> SpinMLError:
    """What to raise for a stage that failed; names the kind of error, never its private text."""
    own = raised_on_purpose(error)
    if own is not None:
        return own
    cause = getattr(error, "cause", None) or error
    return StageError(
        f"the stage {stage.kind} failed: {type(cause).__name__}",
        remedy="the worker's log has the traceback; a run started again goes on from here",
        details={"digest": stage.digest, "error": type(cause).__name__},
    )
