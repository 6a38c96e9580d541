"""The report of a run, put together from its artifacts: figures, timings and a few images."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from spinml.errors import ArtifactError, ArtifactNotFoundError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import ArtifactKey, StageKind
from spinml.report.model import (
    DatasetPart,
    DetectionEpoch,
    Epoch,
    RunReport,
    StageTime,
    synthetic_objects,
    utility_figure,
)
from spinml.request import TrainingRequest
from spinml.service.models import Run
from spinml.service.plans import plan_from_json
from spinml.service.results import read_file, result_manifest

FIGURES_FILE = "figures.json"
IMAGES_FOLDER = "images"
SAMPLES_PER_CLASS = 6
REFERENCES_PER_SEGMENT = 8


def assemble_report(store: ArtifactStore, run: Run) -> RunReport:
    """The report of ``run``, whose owner may see its own words and images.

    Raises:
        NotReadyError: the run has not come to its measurements.
        ArtifactError: the store failed, or the measurements are not those of this version.
    """
    key, manifest = result_manifest(store, run, "measure")
    figures = json.loads(read_file(store, key, FIGURES_FILE))
    plan = plan_from_json(run.plan)
    try:
        request = TrainingRequest.model_validate(run.request)
        datasets = _datasets(request, figures["datasets"])
        return RunReport(
            run_id=str(run.id),
            request=request,
            stages=_stage_times(store, run, plan),
            images=sum(part.images for part in datasets),
            rejected=sum(part.rejected for part in datasets),
            datasets=datasets,
            history=tuple(_epoch(item) for item in figures["history"]),
            confusion=figures["validation"].get("confusion", ()),
            synthetic_utility=manifest.figures.get(utility_figure(request.task)),
            synthetic_objects=synthetic_objects(request.task, figures),
            samples={
                label: _encode(store, key, names)
                for label, names in _names_by_class(figures["samples"]).items()
            },
            references=_references(store, run.tenant_id, plan),
        )
    except (KeyError, ValueError) as error:
        raise ArtifactError(
            f"the run's measurements are not those of this version: {type(error).__name__}",
            remedy="submit again",
        ) from None


def _datasets(
    request: TrainingRequest, figures: Sequence[Mapping[str, Any]]
) -> tuple[DatasetPart, ...]:
    """The datasets by the preference that each was made under."""
    return tuple(
        DatasetPart(
            preference=str(preference),
            images=part["images"],
            rejected=sum(part["rejected"].values()),
        )
        for preference, part in zip(request.preferences, figures, strict=True)
    )


def _stage_times(store: ArtifactStore, run: Run, plan: Plan) -> tuple[StageTime, ...]:
    """The run's stages but for what arrived, each with what it took whoever executed it."""
    return tuple(
        StageTime(
            label=stage.label,
            state=stage.state,
            seconds=round(stage.seconds, 3),
            digest=stage.digest,
            kind=stage.kind,
            made_in_s=_made_in_s(store, plan.stages[stage.digest].key(run.tenant_id)),
        )
        for stage in run.stages
        if stage.kind != StageKind.SEGMENT
    )


def _made_in_s(store: ArtifactStore, key: ArtifactKey) -> float | None:
    try:
        seconds = store.read_manifest(key).figures.get("seconds")
    except ArtifactNotFoundError:
        return None
    return None if seconds is None else float(seconds)


def _epoch(figures: Mapping[str, Any]) -> Epoch | DetectionEpoch:
    kind = DetectionEpoch if "validation_map50" in figures else Epoch
    return kind.model_validate({name: figures[name] for name in kind.model_fields})


def _names_by_class(samples: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    """The first few files of each class."""
    by_class: dict[str, list[str]] = {}
    for sample in samples:
        names = by_class.setdefault(sample["label"], [])
        if len(names) < SAMPLES_PER_CLASS:
            names.append(sample["file"])
    return by_class


def _references(store: ArtifactStore, tenant: str, plan: Plan) -> dict[str, tuple[str, ...]]:
    """What each segment was fine-tuned on, as it arrived or as it was expanded from features.

    By what the fine-tuning is called: a segment, with its scheme where it was sent at several.
    """
    references = {}
    for stage in plan:
        if stage.kind is StageKind.FINETUNE:
            name = stage.label.removeprefix("fine-tune ")
            key = plan.stages[stage.inputs["references"]].key(tenant)
            references[name] = _reference_images(store, key)
    return references


def _reference_images(store: ArtifactStore, key: ArtifactKey) -> tuple[str, ...]:
    """The first few images of an artifact; none when it is gone."""
    try:
        manifest = store.read_manifest(key)
    except ArtifactNotFoundError:
        return ()
    names = [
        e.name for e in manifest.files if PurePosixPath(e.name).match(f"{IMAGES_FOLDER}/*.png")
    ]
    return _encode(store, key, names[:REFERENCES_PER_SEGMENT])


def _encode(store: ArtifactStore, key: ArtifactKey, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(base64.b64encode(read_file(store, key, name)).decode() for name in names)
