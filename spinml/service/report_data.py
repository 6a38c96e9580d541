"""The report of a run, put together from its artifacts: figures, timings and a few samples."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from spinml.errors import ArtifactNotFoundError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.manifest import Manifest
from spinml.pipeline.stages import Stage, StageKind
from spinml.request import TrainingRequest
from spinml.service.models import Run, RunState
from spinml.service.plans import plan_from_json
from spinml.service.results import read_file, result_manifest
from spinml.service.schemas import StageStatus, run_status

SAMPLES_FOLDER = "samples"
SAMPLES_PER_CLASS = 4


class RunReport(BaseModel):
    """All that the report page shows of the server's side."""

    model_config = ConfigDict(extra="forbid")

    id: UUID
    state: RunState
    created_at: datetime
    seconds: float = Field(description="From submission to the last change.")
    request: TrainingRequest
    references: dict[str, int] = Field(description="Images received, by segment.")
    stages: list[StageStatus]
    figures: dict[str, dict[str, Any]] = Field(
        description="What each stage measured, by its label: losses, rejections, accuracies …"
    )
    samples: dict[str, list[str]] = Field(
        description="Synthetic images by class: base64 of PNG files, a few each."
    )


def assemble_report(store: ArtifactStore, run: Run) -> RunReport:
    """The report of ``run``, whose owner may see its own words.

    Raises:
        NotReadyError: the run has not come to its measurements.
        ArtifactError: the store failed.
    """
    key, measured = result_manifest(store, run, "measure")
    manifests = _manifests(store, run)
    status = run_status(run)
    return RunReport(
        id=run.id,
        state=status.state,
        created_at=run.created_at,
        seconds=round((run.updated_at - run.created_at).total_seconds(), 3),
        request=TrainingRequest.model_validate(run.request),
        references={
            str(stage.params["name"]): len(stage.params["images"])
            for stage in plan_from_json(run.plan)
            if stage.kind is StageKind.SEGMENT
        },
        stages=status.stages,
        figures={
            stage.label: manifest.figures
            for stage, manifest in manifests
            if stage.kind is not StageKind.SEGMENT
        },
        samples={
            label: [base64.b64encode(read_file(store, key, name)).decode() for name in names]
            for label, names in _sample_names(measured).items()
        },
    )


def _manifests(store: ArtifactStore, run: Run) -> list[tuple[Stage, Manifest]]:
    """Of the stages whose artifacts are there; intermediate ones may have been cleared away."""
    found = []
    for stage in plan_from_json(run.plan):
        try:
            found.append((stage, store.read_manifest(stage.key(run.tenant_id))))
        except ArtifactNotFoundError:
            continue
    return found


def _sample_names(manifest: Manifest) -> Mapping[str, list[str]]:
    """``samples/<class>/<name>.png`` → names by class, the first few of each."""
    by_class: dict[str, list[str]] = {}
    for entry in manifest.files:
        path = PurePosixPath(entry.name)
        if len(path.parts) == 3 and path.parts[0] == SAMPLES_FOLDER and path.suffix == ".png":
            names = by_class.setdefault(path.parts[1], [])
            if len(names) < SAMPLES_PER_CLASS:
                names.append(entry.name)
    return by_class
