"""From a checked bundle to a queued run: segments into the store first, then the run at once."""

from __future__ import annotations

from pathlib import Path

from spinml.bundle import SanitizedBundle, SanitizedSegment
from spinml.config import CheckpointConfig
from spinml.distributed.resources import demand_of
from spinml.errors import UnknownFeatureError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.planner import segment_stage
from spinml.pipeline.scratch import scratch
from spinml.pipeline.stages import ArtifactKey, StageKind
from spinml.service.models import Run
from spinml.service.runs import Submission, check_quotas, find_submission, insert_run
from spinml.service.state import ServiceState
from spinml.synthesis.identity import expandable_features

SEGMENT_FILE = "segment.json"


def submit(
    state: ServiceState,
    tenant: str,
    idempotency_key: str,
    bundle: SanitizedBundle,
    priority: int = 0,
) -> tuple[Run, bool]:
    """Store ``bundle`` and queue its run; (run, whether it is new).

    A crash before the run is inserted leaves at most segments that no run holds, which
    :func:`spinml.service.erasure.erase_orphans` erases.

    Raises:
        ConflictError: the idempotency key was used for another bundle.
        UnknownFeatureError: a segment's feature has no ControlNet here.
        QuotaSpentError, QuotaExceededError: the tenant's quotas do not allow it; nothing is stored.
        ServerUnavailableError: what the run needs is being erased; submit it again.
        ArtifactError: the store failed.
    """
    known = find_submission(state.database, tenant, idempotency_key, bundle.digest)
    if known is not None:
        return known, False
    refuse_unexpandable(state.config.checkpoint, bundle)

    def gpus(kind: StageKind) -> float:
        return demand_of(kind, state.config).total().get("GPU", 0.0)

    store = state.store
    keys = {segment_stage(segment).key(tenant): segment for segment in bundle.segments}
    new = [segment for key, segment in keys.items() if not store.exists(key)]
    submission = Submission(
        tenant,
        idempotency_key,
        bundle.digest,
        bundle.request,
        state.planner(bundle),
        gpus=gpus,
        size_bytes=sum(size_bytes(segment) for segment in new),
        priority=priority,
    )
    check_quotas(state.database, submission)
    for segment in new:
        store_segment(store, tenant, segment)
    return insert_run(state.database, submission, lambda: [store.read_whole(key) for key in keys])


def size_bytes(segment: SanitizedSegment) -> int:
    """How much a segment takes in the store."""
    return len(_words(segment).encode()) + sum(len(image) for image in segment.images)


def refuse_unexpandable(config: CheckpointConfig, bundle: SanitizedBundle) -> None:
    """Refuse now what the run's stage EXPAND could not do.

    Raises:
        UnknownFeatureError: a segment at L1 has a feature without a ControlNet on this server.
    """
    known = expandable_features(config)
    lacking = {
        segment.name: segment.feature
        for segment in bundle.segments
        if segment.feature is not None and known is not None and segment.feature not in known
    }
    if lacking:
        told = ", ".join(f"{feature!r} of the {name}" for name, feature in lacking.items())
        choice = ", ".join(sorted(known or ()))
        raise UnknownFeatureError(
            f"this server has no ControlNet for the feature {told}",
            remedy=f"name one that it can expand: {choice}" if choice else "set L0 or L2 instead",
            details={"expandable": sorted(known or ()), "lacking": lacking},
        )


def store_segment(store: ArtifactStore, tenant: str, segment: SanitizedSegment) -> ArtifactKey:
    """Publish a segment as a source artifact, ``segment.json`` and ``images/NNN.png``; its key.

    Raises:
        ArtifactError: the store failed.
    """
    key = segment_stage(segment).key(tenant)
    if store.exists(key):
        return key
    with scratch("segment") as folder:
        write_segment(segment, folder)
        store.publish(key, folder, {"images": len(segment.images)})
    return key


def write_segment(segment: SanitizedSegment, folder: Path) -> None:
    """Write a segment's files into ``folder``."""
    (folder / SEGMENT_FILE).write_text(_words(segment), encoding="utf-8")
    images = folder / "images"
    images.mkdir()
    for index, image in enumerate(segment.images):
        (images / f"{index:03d}.png").write_bytes(image)


def _words(segment: SanitizedSegment) -> str:
    """What ``segment.json`` holds."""
    return segment.model_dump_json(exclude={"images"})
