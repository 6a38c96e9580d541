"""From a request and its sanitized segments to the stages that serve it (§3.3)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from spinml.bundle import SanitizedSegment
from spinml.config import ServerConfig
from spinml.pipeline.local_files import local_content
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import Stage, StageKind
from spinml.request import BACKGROUND, TARGET, PrivacyPreference, Scheme, Task, TrainingRequest

MEASURE_VERSION = 2
"""Raised when MEASURE writes other files; KEY_VERSION would make the models anew, too."""
DATASET_VERSION = 3
"""Raised when a dataset gets other columns or pixels: 2 has lists over an image's objects, 3 is
made of objects that a stage of their own drew."""
MIXTURE_VERSION = 2
"""Raised when a mixture's classifier learns differently: 2 validates on seeds of its own."""
_NOT_OF_OBJECTS = {"images_per_class", "background_guidance_scale", "scale_range", "image_px"}
"""Settings of generation on which an object's drawings do not depend."""


def segment_stage(segment: SanitizedSegment) -> Stage:
    """The source stage of a sanitized segment: named by its content alone."""
    params = segment.model_dump(mode="json", exclude={"images"})
    params["images"] = [hashlib.sha256(image).hexdigest() for image in segment.images]
    return Stage(StageKind.SEGMENT, params, label=f"segment {segment.name}")


def objects_role(segment: str) -> str:
    """The input of GENERATE with a target object's drawings: "target_objects", …"""
    return f"{segment}_objects"


class _Builder:
    """Adds stages in order; asking twice for the same stage gives the same one."""

    def __init__(self, request: TrainingRequest, config: ServerConfig, checkpoint_id: str) -> None:
        self.request = request
        self.config = config
        self.checkpoint_id = checkpoint_id
        self.stages: dict[str, Stage] = {}

    def _named(self, segment: SanitizedSegment) -> str:
        """The segment for people, with its scheme where it was sent at several."""
        several = len(self.request.disclosed(segment.name)) > 1
        return f"{segment.name} at {segment.scheme}" if several else segment.name

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

    def states(self, name: str) -> list[str]:
        """What a segment may be doing in captions and prompts: the classes of the first object.

        Of a detector's object no state is known or asked for.
        """
        labelled = name == TARGET and self.request.task is Task.CLASSIFICATION
        return list(self.request.label_classes) if labelled else []

    def references(self, segment: SanitizedSegment, source: str) -> str:
        """Digest of the artifact with the segment's reference images."""
        if segment.scheme is not Scheme.L1:
            return source
        params = self.base() | {
            "segment": segment.name,
            "words": segment.text,
            "feature": segment.feature,
            "seed": self.request.seed,
            "prompts": self.config.prompts.model_dump(),
            "settings": self.config.expand.model_dump(),
            "batch_size": self.config.generation.batch_size,
        }
        label = f"expand {self._named(segment)} from {segment.feature}"
        return self.add(StageKind.EXPAND, params, {"features": source}, label)

    def finetune(self, segment: SanitizedSegment) -> str | None:
        """Digest of the fine-tuned UNet of a segment; None at L0."""
        source = segment_stage(segment)
        self.stages.setdefault(source.digest, source)
        if segment.scheme is Scheme.L0:
            return None
        settings = self.config.finetune
        inputs = {"references": self.references(segment, source.digest)}
        common = self.base() | {
            "segment": segment.name,
            "words": segment.text,
            "seed": self.request.seed,
            "prompts": self.config.prompts.model_dump(),
        }
        if settings.class_images and settings.prior_loss_weight > 0:
            generation = self.config.generation
            prior = common | {
                "count": settings.class_images,
                "steps": generation.steps,
                "guidance_scale": generation.guidance_scale,
                "batch_size": generation.batch_size,
            }
            inputs["class_images"] = self.add(
                StageKind.PRIOR, prior, label=f"class images {segment.name}"
            )
        states = self.states(segment.name) if settings.guess_labels else []
        tuned = common | {"settings": settings.model_dump(), "label_classes": states}
        return self.add(StageKind.FINETUNE, tuned, inputs, f"fine-tune {self._named(segment)}")

    def merge(self, segment: SanitizedSegment, tuned: str | None) -> str | None:
        """Digest of the inpainting UNet of a background that was fine-tuned; None at L0."""
        if tuned is None:
            return None
        label = f"merge {self._named(segment)}"
        return self.add(StageKind.MERGE, self.base(), {"tuned_unet": tuned}, label)

    def draw(self, name: str, scheme: Scheme, unet: str | None) -> str:
        """Digest of a target object's drawings, made by ``unet`` or, at L0, by the base model."""
        settings = self.config.generation.model_dump(exclude=_NOT_OF_OBJECTS)
        params = self.base() | {
            "segment": name,
            "words": self.request.words_of(name),
            "label_classes": self.states(name),
            "images": self.images,
            "seed": self.request.seed,
            "prompts": self.config.prompts.model_dump(),
            "settings": settings,
            "version": DATASET_VERSION,
        }
        several = len({each.of(name) for each in self.request.preferences}) > 1
        label = f"draw {name} at {scheme}" if several else f"draw {name}"
        return self.add(StageKind.DRAW, params, {"unet": unet} if unet else {}, label)

    def generate(
        self, preference: PrivacyPreference, unets: Mapping[tuple[str, Scheme], str]
    ) -> str:
        """Digest of the synthetic dataset of one preference.

        Args:
            unets: digests of the UNets that were fine-tuned (and merged), by segment and scheme.
        """
        inputs = {}
        for name in self.request.segments:
            scheme = preference.of(name)
            unet = unets.get((name, scheme))
            if name != BACKGROUND:
                inputs[objects_role(name)] = self.draw(name, scheme, unet)
            elif unet is not None:
                inputs["inpainting_unet"] = unet
        label = "generate" if len(self.request.preferences) == 1 else f"generate {preference}"
        return self.add(StageKind.GENERATE, _generate_params(self), inputs, label)

    @property
    def classes(self) -> list[str]:
        """What the images of the dataset are: a detector's are all of its first object."""
        if self.request.task is Task.CLASSIFICATION:
            return list(self.request.label_classes)
        return list(self.request.target_objects[:1])

    @property
    def generation(self) -> dict[str, Any]:
        """How images are made, but for their number; larger where the request wants it."""
        settings = self.config.generation.model_dump(exclude={"images_per_class"})
        usual = settings["image_px"] or self.config.checkpoint.resolution_px
        wanted = self.request.image_px or usual
        return settings | {"image_px": wanted} if wanted > usual else settings

    @property
    def images(self) -> int:
        """How many images the dataset has."""
        per_class = self.request.images_per_class or self.config.generation.images_per_class
        return len(self.classes) * per_class


def make_plan(
    request: TrainingRequest,
    segments: Iterable[SanitizedSegment],
    config: ServerConfig,
    checkpoint_id: str,
) -> Plan:
    """The stages that serve ``request`` with ``segments``, those of its bundle.

    Every segment has its own chain of stages, at each scheme that a preference needs; every
    preference has a GENERATE of the chains it takes, and one TRAIN takes all datasets.

    Args:
        checkpoint_id: the identity of the diffusion models' weights, part of every key.
    """
    build = _Builder(request, config, checkpoint_id)
    unets: dict[tuple[str, Scheme], str] = {}
    for segment in segments:
        tuned = build.finetune(segment)
        unet = build.merge(segment, tuned) if segment.name == BACKGROUND else tuned
        if unet is not None:
            unets[segment.name, segment.scheme] = unet
    datasets = {
        "dataset" if number == 1 else f"dataset_{number}": build.generate(preference, unets)
        for number, preference in enumerate(request.preferences, start=1)
    }
    common = {"label_classes": list(request.label_classes), "seed": request.seed} | _task(request)
    training = config.detection if request.task is Task.DETECTION else config.training
    mixed = len(datasets) > 1 and request.task is Task.CLASSIFICATION
    model = build.add(
        StageKind.TRAIN,
        common
        | {"settings": training.model_dump()}
        | local_content(training.weights)
        | ({"version": MIXTURE_VERSION} if mixed else {}),
        datasets,
        "train",
    )
    export = build.add(
        StageKind.EXPORT,
        common | {"image_px": training.image_px},
        {"model": model, **datasets},
        "export",
    )
    measure = build.add(
        StageKind.MEASURE,
        common
        | {
            "settings": config.measure.model_dump(),
            "checkpoint": checkpoint_id,
            "version": MEASURE_VERSION,
        }
        | local_content(config.measure.embedder),
        {"model": model, **datasets},
        "measure",
    )
    return Plan(build.stages, {**datasets, "model": model, "export": export, "measure": measure})


def dataset_roles(names: Iterable[str]) -> list[str]:
    """Those of ``names``, a stage's inputs or a plan's results, that are datasets, in order."""
    found = [name for name in names if name == "dataset" or name.startswith("dataset_")]
    return sorted(found, key=lambda name: int(name.partition("_")[2] or 1))


def _generate_params(build: _Builder) -> dict[str, Any]:
    request = build.request
    return (
        build.base()
        | {
            "target_objects": list(request.target_objects),
            "background": request.background,
            "label_classes": build.classes,
            "images": build.images,
            "seed": request.seed,
            "prompts": build.config.prompts.model_dump(),
            "settings": build.generation,
            "version": DATASET_VERSION,
        }
        | _task(request)
    )


def _task(request: TrainingRequest) -> dict[str, str]:
    """The task where it is not classification, whose keys are older than the choice."""
    return {} if request.task is Task.CLASSIFICATION else {"task": request.task.value}
