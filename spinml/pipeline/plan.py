"""From a request and its sanitized segments to the stages that serve it (§3.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from spinml.bundle import SanitizedSegment
from spinml.config import ServerConfig
from spinml.errors import ArtifactNotFoundError
from spinml.pipeline.stages import Stage, StageKind
from spinml.request import BACKGROUND, TARGET, Scheme, Task, TrainingRequest

MEASURE_VERSION = 2
"""Raised when MEASURE writes other files; KEY_VERSION would make the models anew, too."""


@dataclass(frozen=True)
class Plan:
    """Stages by digest, each after its inputs, and the digests by role of a run's results.

    Raises:
        ValueError: a stage stands before one of its inputs, or a result is no stage of the plan.
    """

    stages: Mapping[str, Stage]
    results: Mapping[str, str]
    """"dataset", "model", "export", "measure" → digest."""

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for digest, stage in self.stages.items():
            absent = sorted(role for role, source in stage.inputs.items() if source not in seen)
            if absent:
                raise ValueError(f"{stage.kind} stands before its inputs: {', '.join(absent)}")
            seen.add(digest)
        strays = sorted(role for role, digest in self.results.items() if digest not in seen)
        if strays:
            raise ValueError(f"results that no stage makes: {', '.join(strays)}")

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages.values())

    def result(self, role: str) -> Stage:
        """The stage that makes the result called ``role``."""
        return self.stages[self.results[role]]

    def wanted(self) -> set[str]:
        """Digests of what the run is for: its results, and the stages no other stage takes."""
        taken = {source for stage in self for source in stage.inputs.values()}
        return set(self.results.values()) | (set(self.stages) - taken)


def union(plans: Iterable[Plan]) -> Plan:
    """One plan of several: each stage once, each after its inputs.

    Its results are called ``<index of the plan>.<role>``.
    """
    stages: dict[str, Stage] = {}
    results: dict[str, str] = {}
    for index, plan in enumerate(plans):
        stages.update(plan.stages)
        results |= {f"{index}.{role}": digest for role, digest in plan.results.items()}
    return Plan(stages, results)


def missing(plan: Plan, exists: Callable[[Stage], bool]) -> list[Stage]:
    """The stages to execute, in order: the plan minus the artifacts that exist (rule 3).

    An input that is gone but that nothing missing needs is not made again.

    Raises:
        ArtifactNotFoundError: a sanitized segment is needed and is not in the store.
    """
    needed = plan.wanted()
    to_run: list[Stage] = []
    for digest, stage in reversed(list(plan.stages.items())):
        if digest not in needed or exists(stage):
            continue
        if stage.kind is StageKind.SEGMENT:
            raise ArtifactNotFoundError(
                "a sanitized segment of the run is not in the store",
                remedy="submit the bundle again",
            )
        needed.update(stage.inputs.values())
        to_run.append(stage)
    return to_run[::-1]


def segment_stage(segment: SanitizedSegment) -> Stage:
    """The source stage of a sanitized segment: named by its content alone."""
    params = segment.model_dump(mode="json", exclude={"images"})
    params["images"] = [hashlib.sha256(image).hexdigest() for image in segment.images]
    return Stage(StageKind.SEGMENT, params, label=f"segment {segment.name}")


class _Builder:
    """Adds stages in order; asking twice for the same stage gives the same one."""

    def __init__(self, config: ServerConfig, checkpoint_id: str) -> None:
        self.config = config
        self.checkpoint_id = checkpoint_id
        self.stages: dict[str, Stage] = {}

    def add(
        self,
        kind: StageKind,
        params: Mapping[str, Any],
        inputs: Mapping[str, str] | None = None,
        label: str = "",
    ) -> str:
        stage = Stage(kind, params, inputs or {}, label)
        return self.stages.setdefault(stage.digest, stage).digest

    def base(self) -> dict[str, Any]:
        """What every diffusion stage depends on besides its own settings."""
        return {
            "checkpoint": self.checkpoint_id,
            "resolution_px": self.config.checkpoint.resolution_px,
            "dtype": self.config.checkpoint.dtype,
        }

    def references(self, request: TrainingRequest, segment: SanitizedSegment, source: str) -> str:
        """Digest of the artifact with the segment's reference images."""
        if segment.scheme is not Scheme.L1:
            return source
        params = self.base() | {
            "segment": segment.name,
            "words": segment.text,
            "feature": segment.feature,
            "seed": request.seed,
            "prompts": self.config.prompts.model_dump(),
            "settings": self.config.expand.model_dump(),
        }
        label = f"expand {segment.name} from {segment.feature}"
        return self.add(StageKind.EXPAND, params, {"features": source}, label)

    def finetune(self, request: TrainingRequest, segment: SanitizedSegment) -> str | None:
        """Digest of the fine-tuned UNet of a segment; None at L0."""
        source = segment_stage(segment)
        self.stages.setdefault(source.digest, source)
        if segment.scheme is Scheme.L0:
            return None
        settings = self.config.finetune
        inputs = {"references": self.references(request, segment, source.digest)}
        common = self.base() | {
            "segment": segment.name,
            "words": segment.text,
            "seed": request.seed,
            "prompts": self.config.prompts.model_dump(),
        }
        if settings.class_images and settings.prior_loss_weight > 0:
            generation = self.config.generation
            prior = common | {
                "count": settings.class_images,
                "steps": generation.steps,
                "guidance_scale": generation.guidance_scale,
            }
            inputs["class_images"] = self.add(
                StageKind.PRIOR, prior, label=f"class images {segment.name}"
            )
        # Of a detector's object no state is known or asked for: its captions name none.
        labelled = segment.name == TARGET and request.task is Task.CLASSIFICATION
        classes = list(request.label_classes) if labelled else []
        tuned = common | {"settings": settings.model_dump(), "label_classes": classes}
        return self.add(StageKind.FINETUNE, tuned, inputs, f"fine-tune {segment.name}")


def make_plan(
    request: TrainingRequest,
    segments: Iterable[SanitizedSegment],
    config: ServerConfig,
    checkpoint_id: str,
) -> Plan:
    """The stages that serve ``request`` with ``segments`` (target and background).

    Args:
        checkpoint_id: the identity of the diffusion models' weights, part of every key.
    """
    by_name: dict[str, SanitizedSegment] = {segment.name: segment for segment in segments}
    build = _Builder(config, checkpoint_id)
    target = build.finetune(request, by_name[TARGET])
    background = build.finetune(request, by_name[BACKGROUND])
    inputs: dict[str, str] = {}
    if target is not None:
        inputs["target_unet"] = target
    if background is not None:
        inputs["inpainting_unet"] = build.add(
            StageKind.MERGE, build.base(), {"tuned_unet": background}, "merge background"
        )
    dataset = build.add(StageKind.GENERATE, _generate_params(build, request), inputs, "generate")
    common = {"label_classes": list(request.label_classes), "seed": request.seed} | _task(request)
    training = config.detection if request.task is Task.DETECTION else config.training
    model = build.add(
        StageKind.TRAIN,
        common | {"settings": training.model_dump()},
        {"dataset": dataset},
        "train",
    )
    export = build.add(
        StageKind.EXPORT,
        common | {"image_px": training.image_px},
        {"model": model, "dataset": dataset},
        "export",
    )
    measure = build.add(
        StageKind.MEASURE,
        common
        | {
            "settings": config.measure.model_dump(),
            "checkpoint": checkpoint_id,
            "version": MEASURE_VERSION,
        },
        {"dataset": dataset, "model": model},
        "measure",
    )
    results = {"dataset": dataset, "model": model, "export": export, "measure": measure}
    return Plan(build.stages, results)


def _generate_params(build: _Builder, request: TrainingRequest) -> dict[str, Any]:
    config = build.config
    settings = config.generation.model_dump()
    per_class = request.images_per_class or settings.pop("images_per_class")
    settings.pop("images_per_class", None)
    return (
        build.base()
        | {
            "target_object": request.target_object,
            "background": request.background,
            "label_classes": list(request.label_classes),
            "images_per_class": per_class,
            "seed": request.seed,
            "prompts": config.prompts.model_dump(),
            "settings": settings,
        }
        | _task(request)
    )


def _task(request: TrainingRequest) -> dict[str, str]:
    """The task where it is not classification, whose keys are older than the choice."""
    return {} if request.task is Task.CLASSIFICATION else {"task": request.task.value}
