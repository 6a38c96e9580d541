"""The report of a run, put together from its artifacts: figures, timings and a few images."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from spinml.errors import ArtifactNotFoundError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.manifest import Manifest
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import ArtifactKey, Stage, StageKind
from spinml.report.model import Epoch, RunReport, StageTime
from spinml.request import BACKGROUND, TARGET, TrainingRequest
from spinml.service.models import Run
from spinml.service.plans import plan_from_json
from spinml.service.results import read_file, result_manifest
from spinml.service.schemas import run_status

SAMPLES_FOLDER = "samples"
IMAGES_FOLDER = "images"
SAMPLES_PER_CLASS = 6
REFERENCES_PER_SEGMENT = 8


def assemble_report(store: ArtifactStore, run: Run) -> RunReport:
    """The report of ``run``, whose owner may see its own words and images.

    Raises:
        NotReadyError: the run has not come to its measurements.
        ArtifactError: the store failed.
    """
    key, measured = result_manifest(store, run, "measure")
    plan = plan_from_json(run.plan)
    dataset = _figures(store, run, plan, "dataset")
    training = _figures(store, run, plan, "model")
    samples = _by_folder(measured, SAMPLES_FOLDER, SAMPLES_PER_CLASS)
    return RunReport(
        run_id=str(run.id),
        request=TrainingRequest.model_validate(run.request),
        stages=tuple(
            StageTime(label=stage.label, state=stage.state, seconds=stage.seconds)
            for stage in run_status(run).stages
        ),
        images=int(dataset.get("images", 0)),
        rejected=int(dataset.get("rejected", 0)),
        history=tuple(_epoch(item) for item in training.get("history", ())),
        confusion=tuple(tuple(row) for row in measured.figures.get("confusion", ())),
        samples={label: _encode(store, key, names) for label, names in samples.items()},
        references={
            name: _references(store, run.tenant_id, plan, name) for name in (TARGET, BACKGROUND)
        },
    )


def _epoch(figures: Mapping[str, Any]) -> Epoch:
    return Epoch.model_validate({name: figures[name] for name in Epoch.model_fields})


def _figures(store: ArtifactStore, run: Run, plan: Plan, role: str) -> dict[str, Any]:
    """What a result's stage measured; empty when its artifact was cleared away."""
    try:
        return store.read_manifest(plan.result(role).key(run.tenant_id)).figures
    except ArtifactNotFoundError:
        return {}


def _references(store: ArtifactStore, tenant: str, plan: Plan, segment: str) -> tuple[str, ...]:
    """What a segment was fine-tuned on: as it arrived, or as it was expanded from features."""
    stage = _reference_stage(plan, segment)
    if stage is None:
        return ()
    key = stage.key(tenant)
    try:
        manifest = store.read_manifest(key)
    except ArtifactNotFoundError:
        return ()
    names = [
        e.name for e in manifest.files if PurePosixPath(e.name).match(f"{IMAGES_FOLDER}/*.png")
    ]
    return _encode(store, key, names[:REFERENCES_PER_SEGMENT])


def _reference_stage(plan: Plan, segment: str) -> Stage | None:
    """The input "references" of the segment's fine-tuning; None where nothing was tuned."""
    for stage in plan:
        if stage.kind is StageKind.FINETUNE and stage.params["segment"] == segment:
            return plan.stages[stage.inputs["references"]]
    return None


def _by_folder(manifest: Manifest, root: str, most: int) -> dict[str, list[str]]:
    """``<root>/<folder>/<name>.png`` → the first names of each folder."""
    found: dict[str, list[str]] = {}
    for entry in manifest.files:
        path = PurePosixPath(entry.name)
        if len(path.parts) == 3 and path.parts[0] == root and path.suffix == ".png":
            names = found.setdefault(path.parts[1], [])
            if len(names) < most:
                names.append(entry.name)
    return found


def _encode(store: ArtifactStore, key: ArtifactKey, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(base64.b64encode(read_file(store, key, name)).decode() for name in names)
