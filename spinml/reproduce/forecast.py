"""What a reproduction would execute: stages after sharing, and how long they take."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spinml.bundle import SanitizedSegment
from spinml.config import ServerConfig
from spinml.evaluation import TENANT
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.planner import make_plan
from spinml.pipeline.stages import Stage, StageKind
from spinml.reproduce.experiments import CLASSES, EXPERIMENTS, Experiment, labelled, sweep_of
from spinml.reproduce.selection import Selection
from spinml.synthesis.identity import checkpoint_identity
from spinml.tradeoffs.home import PlayedHome, photos_of

ROUGH_S = {
    StageKind.EXPAND: 20.0,
    StageKind.PRIOR: 20.0,
    StageKind.FINETUNE: 45.0,
    StageKind.MERGE: 5.0,
    StageKind.DRAW: 75.0,
    StageKind.GENERATE: 85.0,
    StageKind.TRAIN: 110.0,
    StageKind.EXPORT: 8.0,
    StageKind.MEASURE: 9.0,
}
"""Seconds on two cores without a GPU at cluster/laptop.yaml's settings (250 steps, 4 classes of 80
images): of a kind of which the store has no stage with this reproduction's own settings."""
_ROUGH_STEPS, _ROUGH_IMAGES = 250, 320
_OF_IMAGES = (StageKind.DRAW, StageKind.GENERATE, StageKind.TRAIN)


@dataclass(frozen=True)
class Forecast:
    """An experiment before it is run."""

    experiment: str
    conditions: int
    trials: int
    stages: int
    """Of all plans, each once."""
    alone: int
    """Of as many runs that share nothing."""
    missing: int
    """Of ``stages``, those that the store has not."""
    hours: float
    """For these, one after the other."""


def forecast(
    selection: Selection, config: ServerConfig, seeds: Mapping[str, int], images_per_class: int
) -> list[Forecast]:
    """Plan all of ``selection`` without storing or executing anything.

    Each stage is counted for the first experiment that needs it.

    Args:
        seeds: how many, by experiment.

    Raises:
        SpinMLError: the photos, the checkpoint or the store's address are none.
    """
    store = ArtifactStore.from_url(config.store.artifacts, config.store.s3_endpoint)
    planned: dict[str, Stage] = {}
    counts = []
    for name, conditions in selection.conditions.items():
        stages, trials = _stages(
            EXPERIMENTS[name], conditions, config, seeds[name], images_per_class
        )
        own = {stage.digest: stage for stage in stages if stage.digest not in planned}
        planned |= own
        counts.append((name, len(conditions), trials, own, len(stages)))
    there = {digest for digest, stage in planned.items() if store.exists(stage.key(TENANT))}
    seconds = _seconds(store, [planned[digest] for digest in there], config, images_per_class)
    found = []
    for name, conditions_, trials, own, alone in counts:
        missing = Counter(stage.kind for digest, stage in own.items() if digest not in there)
        hours = sum(seconds[kind] * count for kind, count in missing.items()) / 3600
        found.append(
            Forecast(name, conditions_, trials, len(own), alone, missing.total(), round(hours, 2))
        )
    return found


def _stages(
    experiment: Experiment,
    conditions: tuple[str, ...],
    config: ServerConfig,
    seeds: int,
    images_per_class: int,
) -> tuple[list[Stage], int]:
    """The stages of every trial's plan, shared ones as often as they are needed; and the trials."""
    identity = checkpoint_identity(config.checkpoint)
    known = labelled(experiment, conditions, images_per_class).values()
    first = next(iter(known)).at(0)
    spec = sweep_of(experiment, conditions, seeds, images_per_class)
    home = PlayedHome(first, photos_of(spec.photos, first), config)
    stages: list[Stage] = []
    for condition in known:
        segments: Iterable[SanitizedSegment] = home.sanitize(condition.at(0)).bundle.segments
        for seed in spec.space.seeds:
            plan = make_plan(condition.at(seed), segments, config, identity)
            stages += [stage for stage in plan if stage.kind is not StageKind.SEGMENT]
    return stages, len(conditions) * seeds


def _seconds(
    store: ArtifactStore,
    there: Iterable[Stage],
    config: ServerConfig,
    images_per_class: int,
) -> Mapping[StageKind, float]:
    """Seconds of a stage of each kind: the store's own where it has some, or rough ones."""
    images = CLASSES * images_per_class
    found = {
        kind: rough
        * (config.finetune.steps / _ROUGH_STEPS if kind is StageKind.FINETUNE else 1)
        * (images / _ROUGH_IMAGES if kind in _OF_IMAGES else 1)
        for kind, rough in ROUGH_S.items()
    }
    measured: dict[StageKind, list[float]] = {}
    for stage in there:
        figures = store.read_manifest(stage.key(TENANT)).figures
        measured.setdefault(stage.kind, []).append(float(figures["seconds"]))
    return found | {kind: statistics.fmean(took) for kind, took in measured.items()}
