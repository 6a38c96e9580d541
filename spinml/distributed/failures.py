"""What went wrong on Ray: the error a stage raised, or a process that died."""

from __future__ import annotations

from collections.abc import Iterator

from ray import exceptions as ray_errors

from spinml.errors import SpinMLError, StageError
from spinml.pipeline.execution import NODE_FULL
from spinml.pipeline.filesystems import no_room
from spinml.pipeline.stages import Stage

_DEATHS = (
    ray_errors.ActorDiedError,
    ray_errors.ActorUnavailableError,
    ray_errors.WorkerCrashedError,
    ray_errors.NodeDiedError,
    ray_errors.OutOfMemoryError,
    ray_errors.ObjectLostError,
)

_WRAPS = ("cause", "health_check_failure", "_base_exc")
"""Where RayTaskError and Ray Train's errors keep the error they are about."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """``error``, and what lies under it: Ray and Ray Train wrap what a worker raised.

    What an actor's ``__init__`` raised is kept as the argument of its ActorDiedError alone.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        wrapped = [getattr(error, name, None) for name in _WRAPS]
        if isinstance(error, ray_errors.ActorDiedError):
            wrapped += error.args[:1]
        under = [inner for inner in wrapped if isinstance(inner, BaseException)]
        error = under[0] if under else error.__cause__ or error.__context__


def raised_on_purpose(error: BaseException) -> SpinMLError | None:
    """The SpinMLError somewhere in what Ray raised; not the RayTaskError that poses as one."""
    for cause in causes(error):
        if isinstance(cause, SpinMLError) and not isinstance(cause, ray_errors.RayTaskError):
            return cause
    return None


def worker_died(error: BaseException) -> bool:
    """Whether a process ended under a stage, so that it is worth trying again."""
    return any(isinstance(cause, _DEATHS) for cause in causes(error))


def stage_error(stage: Stage, error: BaseException) -> SpinMLError:
    """What to raise for a stage that failed; names the kind of error, never its private text."""
    own = raised_on_purpose(error)
    if own is not None:
        return own
    for cause in causes(error):
        full = no_room(cause, NODE_FULL)
        if full is not None:
            return full
    cause = getattr(error, "cause", None) or error
    return StageError(
        f"the stage {stage.kind} failed: {type(cause).__name__}",
        remedy="the worker's log has the traceback; a run started again goes on from here",
        details={"digest": stage.digest, "error": type(cause).__name__},
    )
