"""Runs put into the queue without HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from spinml.config import ServerConfig
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.planner import make_plan, segment_stage
from spinml.pipeline.stages import StageKind
from spinml.service import runs
from spinml.service.database import Database
from spinml.service.models import Run
from spinml.service.submit import size_bytes, store_segment
from tests.service import bundles


def submit_to(
    database: Database,
    store: ArtifactStore,
    tenant: str = "anna",
    key: str = "one",
    *,
    gpus: Callable[[StageKind], float] = lambda kind: 0.0,
    priority: int = 0,
    **changes: Any,
) -> Run:
    """Queue a run; ``changes`` are those of :func:`tests.service.bundles.bundle`."""
    bundle = bundles.bundle(**changes)
    plan = make_plan(bundle.request, bundle.segments, ServerConfig(), "checkpoint")
    keys = [segment_stage(segment).key(tenant) for segment in bundle.segments]
    size = sum(size_bytes(segment) for segment in bundle.segments)
    submission = runs.Submission(
        tenant, key, bundle.digest, bundle.request, plan, gpus, size, priority
    )
    runs.check_quotas(database, submission)
    for segment in bundle.segments:
        store_segment(store, tenant, segment)
    return runs.insert_run(
        database, submission, lambda: [store.read_manifest(key) for key in keys]
    )[0]


def find_run(database: Database, tenant: str, run_id: uuid.UUID) -> Run | None:
    """A tenant's run as it stands now, without its stages; None once it is deleted."""
    with database.read() as session:
        return session.scalar(select(Run).where(Run.id == run_id, Run.tenant_id == tenant))
