"""How good and how private: preferences × seeds on the simulated home, as tables 3a and 4a (§5)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spinml.config import ServerConfig
from spinml.demo import home_distractors, home_references, home_request
from spinml.device.detection_evaluation import evaluate_detector
from spinml.device.detector import Detector
from spinml.device.measures import SegmentMeasures, measure_segments
from spinml.device.model_file import model_task
from spinml.device.predictor import Predictor
from spinml.distributed.events import StageEvent
from spinml.distributed.executor import Executor
from spinml.home.photos import PhotoSet, shipped_home
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.plan import Plan
from spinml.pipeline.planner import make_plan
from spinml.privacy.leakage import measure_leakage
from spinml.privacy.sanitizer import Sanitized, sanitize
from spinml.request import BACKGROUND, TARGET, Task
from spinml.service.submit import store_segment
from spinml.sweep.estimates import Estimate, estimate
from spinml.synthesis.identity import checkpoint_identity

TENANT = "evaluation"


@dataclass(frozen=True)
class Row:
    """One preference with one seed. Shares in [0, 1]; MI by the joint histogram.

    ``reidentified_…`` is the attack by another shot, ``reidentified_same_…`` the worst case by the
    photo itself; ``copies_…`` the share of synthetic images that were flagged; ``prompt_sim_…`` is
    None when the embedder has no text tower. Of a detection, both accuracies are mAP50.
    """

    target: str
    background: str
    seed: int
    accuracy: float
    synthetic_accuracy: float
    rejected_share: float
    mi_target: float
    mi_background: float
    mi_target_regional: float
    mi_background_regional: float
    sim_target: float
    sim_background: float | None
    prompt_sim_target: float | None
    prompt_sim_background: float | None
    empty_prompt_sim_target: float | None
    empty_prompt_sim_background: float | None
    reidentified_target: float
    reidentified_background: float | None
    reidentified_same_target: float
    reidentified_same_background: float | None
    reidentified_chance: float
    copies_target: float | None
    copies_background: float | None
    nearest_target: float | None
    nearest_background: float | None
    seconds: float


FIGURES = tuple(
    name for name in Row.__dataclass_fields__ if name not in ("target", "background", "seed")
)


@dataclass(frozen=True)
class Summary:
    """A preference over seeds, figure by figure; None for what a run did not measure.

    Seeds vary the run, not the photos: the interval says nothing of another home's photos.
    """

    target: str
    background: str
    seeds: int
    figures: dict[str, Estimate | None]


def evaluate_home(
    preferences: Sequence[tuple[str, str]],
    seeds: Iterable[int],
    config: ServerConfig,
    on_event: Callable[[StageEvent], None],
    on_row: Callable[[Row], None],
    images_per_class: int | None = None,
    home: PhotoSet | None = None,
) -> list[Row]:
    """Run every preference with every seed on the connected Ray cluster.

    Args:
        home: whose photos, and so which task; the shipped pet's if not given.

    What the store already has is not made again: a broken evaluation goes on where it was.

    Raises:
        SpinMLError: whatever failed.
    """
    home = home or shipped_home("pet")
    store = ArtifactStore.from_url(config.store.artifacts, config.store.s3_endpoint)
    executor = Executor(config, store)
    rows = []
    try:
        for seed in seeds:
            for preference in preferences:
                row = _evaluate(executor, home, preference, seed, images_per_class, on_event)
                rows.append(row)
                on_row(row)
    finally:
        executor.close()
    return rows


def _evaluate(
    executor: Executor,
    home: PhotoSet,
    preference: tuple[str, str],
    seed: int,
    images_per_class: int | None,
    on_event: Callable[[StageEvent], None],
) -> Row:
    started = time.monotonic()
    target, background = preference
    request = home_request(
        target=target,
        background=background,
        seed=seed,
        images_per_class=images_per_class,
        home=home,
    )
    photos = home_references(request, home).photos
    sanitized = sanitize(request, photos)
    plan = stored_plan(executor.store, executor.config, sanitized)
    executor.run(plan, TENANT, f"{target}-{background}-{seed}", on_event)
    leakage = measure_leakage(sanitized)
    with tempfile.TemporaryDirectory(prefix="spinml-evaluate-") as name:
        files = {
            role: executor.store.fetch(plan.result(role).key(TENANT), Path(name) / role)
            for role in ("export", "measure")
        }
        utility = measure_utility(files["export"] / "model.onnx", home.folder / "test")
        measures = measure_segments(
            sanitized,
            photos,
            files["measure"] / "embeddings.npz",
            distractors=home_distractors(request, home),
        )
    figures = {role: _figures(executor, plan, role) for role in ("dataset", "measure")}
    return Row(
        target=target,
        background=background,
        seed=seed,
        accuracy=utility,
        synthetic_accuracy=figures["measure"][
            "validation_map50" if home.detection else "validation_accuracy"
        ],
        rejected_share=sum(figures["dataset"]["rejected"].values()) / figures["dataset"]["draws"],
        mi_target=leakage.target.histogram,
        mi_background=leakage.background.histogram,
        mi_target_regional=leakage.target.regional,
        mi_background_regional=leakage.background.regional,
        reidentified_chance=measures[TARGET].other_shot.chance,
        **_figures_of(TARGET, measures[TARGET]),
        **_figures_of(BACKGROUND, measures.get(BACKGROUND)),
        seconds=time.monotonic() - started,
    )


def measure_utility(model: Path, labelled: Path) -> float:
    """The model on labelled private photos: accuracy, or mAP50 of a detector; a share (§4.3).

    Raises:
        ModelFileError: no model of SpinML.
        PhotoError: the photos are labelled for another task.
    """
    if model_task(model) == Task.DETECTION:
        return evaluate_detector(Detector(model), labelled).map50
    return Predictor(model).evaluate(labelled).accuracy


def _figures_of(name: str, measures: SegmentMeasures | None) -> dict[str, Any]:
    """A segment's columns of a row; None where no photo shows it."""
    prompts = measures and measures.prompt_sim
    copies = measures and measures.copies
    return {
        f"sim_{name}": measures and measures.sim,
        f"prompt_sim_{name}": prompts and prompts.prompts,
        f"empty_prompt_sim_{name}": prompts and prompts.empty,
        f"reidentified_{name}": measures and measures.other_shot.rate,
        f"reidentified_same_{name}": measures and measures.same_photo.rate,
        f"copies_{name}": copies and copies.flagged / copies.images,
        f"nearest_{name}": copies and copies.nearest,
    }


def stored_plan(store: ArtifactStore, config: ServerConfig, sanitized: Sanitized) -> Plan:
    """Store the segments as the ingress does, for the tenant ``TENANT``, and plan the run."""
    bundle = sanitized.bundle
    for segment in bundle.segments:
        store_segment(store, TENANT, segment)
    identity = checkpoint_identity(config.checkpoint)
    return make_plan(bundle.request, bundle.segments, config, identity)


def _figures(executor: Executor, plan: Plan, role: str) -> dict[str, Any]:
    figures: dict[str, Any] = executor.store.read_manifest(plan.result(role).key(TENANT)).figures
    return figures


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """Each figure over seeds, by preference, in the order in which they came."""
    by_preference: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        by_preference.setdefault((row.target, row.background), []).append(asdict(row))
    return [
        Summary(
            target=target,
            background=background,
            seeds=len(group),
            figures={name: estimate([row[name] for row in group]) for name in FIGURES},
        )
        for (target, background), group in by_preference.items()
    ]
