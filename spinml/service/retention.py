"""How long things are kept, by policy; the dispatcher carries it out.

**What was sent** (sanitized segments) goes as soon as fine-tuning is done, by default
(``service.retention.bundles: after_finetuning``). Precisely: a segment is erased once each run of
its tenant that holds it is over, or has done all its stages that take segments (EXPAND, FINETUNE).
From that follows:

- Runs that share a segment (a sweep, a mixture of datasets) keep it until the last one has done its
  fine-tuning; one queued later brings it again with its bundle.
- A run whose dispatcher died is not over: what it still needs is kept, and its adopter goes on.
- A run that failed or was cancelled is over. To try again is to submit the bundle again, which the
  device has; stages that were done are reused.
- A segment shared as words alone (L0) is taken by no stage and goes at once; its words are part of
  the plan, which goes with the run.
- Should fine-tuned weights be lost from the store later, the run cannot be resumed without its
  bundle: :func:`spinml.pipeline.plan.missing` says to submit it again.

**The rest** (weights, synthetic images, models, embeddings, the run's rows and words) goes
``service.retention.days`` after the run's end, as if its owner had deleted it, with a receipt.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Select, select

from spinml.config import RetentionConfig
from spinml.errors import ConflictError, NotFoundError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.stages import ArtifactKey, StageKind
from spinml.service.database import Database
from spinml.service.erasure import EXPIRED, SPENT, Evict, delete_run, erase, note_erasures
from spinml.service.ledger import Erasure, StoredArtifact
from spinml.service.locks import lock_tenant
from spinml.service.models import Run, RunStage, RunState, Tenant, now


def keep_policy(
    database: Database,
    store: ArtifactStore,
    evict: Evict,
    policy: RetentionConfig,
    at: datetime | None = None,
) -> int:
    """Erase what the policy does not keep; how many artifacts that were.

    Raises:
        ArtifactError: store or caches failed; what is left stays noted.
    """
    keys = expire_runs(database, policy, at or now())
    if policy.bundles == "after_finetuning":
        keys += spent_segments(database)
    erase(database, store, evict, keys)
    return len(keys)


def expire_runs(database: Database, policy: RetentionConfig, at: datetime) -> list[ArtifactKey]:
    """Delete runs that ended ``policy.days`` ago; what is to be erased with them."""
    if policy.days is None:
        return []
    ended = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)
    query = select(Run.tenant_id, Run.id).where(
        Run.state.in_(ended), Run.updated_at < at - timedelta(days=policy.days)
    )
    with database.read() as session:
        old = session.execute(query).all()
    keys: list[ArtifactKey] = []
    for tenant, run_id in old:
        try:
            keys += delete_run(database, tenant, str(run_id), EXPIRED)
        except (NotFoundError, ConflictError):  # its owner was faster
            continue
    return keys


def spent_segments(database: Database) -> list[ArtifactKey]:
    """Note every segment that no run needs any more for erasure."""
    with database.read() as session:
        tenants = set(session.scalars(_spent(StoredArtifact.tenant_id)))
    keys: list[ArtifactKey] = []
    for tenant in sorted(tenants):
        with database.write() as session:
            lock_tenant(session, tenant)
            query = _spent(StoredArtifact.digest).where(StoredArtifact.tenant_id == tenant)
            kinds = dict.fromkeys(session.scalars(query), StageKind.SEGMENT.value)
            if kinds:  # another dispatcher may have been faster
                keys += note_erasures(session, tenant, kinds, SPENT)
    return keys


def erase_orphans(database: Database, store: ArtifactStore, evict: Evict) -> int:
    """Erase sanitized segments in the store that no run holds; how many there were.

    A submission stores its segments before its run exists; a server that died in between leaves
    them, maybe in part. A submission that is in the middle of it is told to come again by
    :func:`spinml.service.runs.insert_run`.

    Raises:
        ArtifactError: store or caches failed.
    """
    keys: list[ArtifactKey] = []
    with database.read() as session:
        tenants = session.scalars(select(Tenant.id)).all()
    for tenant in tenants:
        with database.write() as session:
            lock_tenant(session, tenant)
            held = set(session.scalars(_held(tenant)))
            held.update(session.scalars(_erasing(tenant)))  # has its receipt
            kinds = {
                key.digest: key.kind.value
                for key in store.list_keys(tenant, partial=True)
                if key.kind is StageKind.SEGMENT and key.digest not in held
            }
            if kinds:
                keys += note_erasures(session, tenant, kinds, SPENT)
    erase(database, store, evict, keys)
    return len(keys)


def _spent(column: object) -> Select[str]:
    """Of segments in the store that no run needs and that are not being erased."""
    needed = (
        select(RunStage.digest)
        .join(Run, Run.id == RunStage.run_id)
        .where(
            Run.tenant_id == StoredArtifact.tenant_id,
            RunStage.digest == StoredArtifact.digest,
            Run.needs_bundle,
        )
    )
    erasing = select(Erasure.digest).where(
        Erasure.tenant_id == StoredArtifact.tenant_id, Erasure.digest == StoredArtifact.digest
    )
    return select(column).where(  # type: ignore[call-overload, no-any-return]
        StoredArtifact.kind == StageKind.SEGMENT, ~needed.exists(), ~erasing.exists()
    )


def _erasing(tenant: str) -> Select[str]:
    return select(Erasure.digest).where(Erasure.tenant_id == tenant)


def _held(tenant: str) -> Select[str]:
    return (
        select(RunStage.digest)
        .join(Run, Run.id == RunStage.run_id)
        .where(Run.tenant_id == tenant, RunStage.kind == StageKind.SEGMENT)
    )
