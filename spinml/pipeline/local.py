"""A plan executed in this process, one stage after the other: no cluster, the same functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from spinml.config import ServerConfig
from spinml.errors import StageError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import NodeCache
from spinml.pipeline.execution import Workplace, task_of
from spinml.pipeline.plan import Plan, missing
from spinml.pipeline.stages import Progress, Stage, StageFunction, StageKind, silent

ProgressOf = Callable[[Stage], Progress]
"""Gives each stage its Progress."""


def run_plan_local(
    plan: Plan,
    store: ArtifactStore,
    tenant: str,
    config: ServerConfig,
    operations: Mapping[StageKind, StageFunction],
    progress: ProgressOf = lambda stage: silent,
    cache: NodeCache | None = None,
) -> list[Stage]:
    """Execute the stages of ``plan`` whose artifacts are missing; return them in order.

    Args:
        operations: the function of every kind of stage that is missing, GENERATE and TRAIN too.
        progress: told how far each stage is; what it raises ends the run.

    Raises:
        StageError: a kind of stage has no operation (before anything runs).
        ArtifactNotFoundError: a sanitized segment is not in the store.
        Whatever a stage raises; the artifacts of the stages before it stay.
    """
    workplace = Workplace(store, config, cache or NodeCache())
    stages = missing(plan, lambda stage: store.exists(stage.key(tenant)))
    unknown = sorted({stage.kind for stage in stages} - set(operations))
    if unknown:
        raise StageError(f"no operation for: {', '.join(unknown)}")
    for stage in stages:
        task = task_of(plan, stage, tenant)
        workplace.execute(task, operations[stage.kind], progress(stage))
    return stages
