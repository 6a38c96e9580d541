"""From a checked bundle to a queued run: segments into the store first, then the run at once."""

from __future__ import annotations

import tempfile
from pathlib import Path

from spinml.bundle import SanitizedBundle, SanitizedSegment
from spinml.config import CheckpointConfig
from spinml.errors import UnknownFeatureError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.plan import segment_stage
from spinml.pipeline.stages import ArtifactKey
from spinml.service.models import Run
from spinml.service.runs import Submission, find_submission, insert_run
from spinml.service.state import ServiceState
from spinml.synthesis.identity import expandable_features

SEGMENT_FILE = "segment.json"


def submit(
    state: ServiceState, tenant: str, idempotency_key: str, bundle: SanitizedBundle
) -> tuple[Run, bool]:
    """Store ``bundle`` and queue its run; (run, whether it is new).

    A crash before the run is inserted leaves at most segments that no run holds, which
    :func:`spinml.service.erasure.erase_orphans` erases.

    Raises:
        ConflictError: the idempotency key was used for another bundle.
        UnknownFeatureError: a segment's feature has no ControlNet here.
        ServerUnavailableError: what the run needs is being erased; submit it again.
        ArtifactError: the store failed.
    """
    known = find_submission(state.database, tenant, idempotency_key, bundle.digest)
    if known is not None:
        return known, False
    refuse_unexpandable(state.config.checkpoint, bundle)
    plan = state.planner(bundle)
    keys = [store_segment(state.store, tenant, segment) for segment in bundle.segments]
    submission = Submission(tenant, idempotency_key, bundle.digest, bundle.request, plan)
    return insert_run(
        state.database, submission, lambda: all(state.store.exists(key) for key in keys)
    )


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
    with tempfile.TemporaryDirectory(prefix="spinml-segment-") as name:
        folder = Path(name)
        write_segment(segment, folder)
        store.publish(key, folder, {"images": len(segment.images)})
    return key


def write_segment(segment: SanitizedSegment, folder: Path) -> None:
    """Write a segment's files into ``folder``."""
    text = segment.model_dump_json(exclude={"images"})
    (folder / SEGMENT_FILE).write_text(text, encoding="utf-8")
    images = folder / "images"
    images.mkdir()
    for index, image in enumerate(segment.images):
        (images / f"{index:03d}.png").write_bytes(image)
