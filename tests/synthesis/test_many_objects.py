"""From photos to a model with several objects and with mixtures, in this process, tiny models."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from spinml.config import ServerConfig
from spinml.device.measures import measure_segments
from spinml.device.predictor import Predictor
from spinml.distributed.operations import Operations
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import NodeCache
from spinml.pipeline.local import run_plan_local
from spinml.pipeline.plan import Plan, missing
from spinml.pipeline.planner import make_plan
from spinml.pipeline.stages import Stage, StageKind
from spinml.privacy.leakage import measure_leakage
from spinml.privacy.private import PrivatePhoto, SegmentedPhoto
from spinml.privacy.sanitizer import Sanitized, sanitize
from spinml.report.home import build_home_report
from spinml.request import TrainingRequest
from spinml.service.submit import store_segment
from spinml.synthesis.dataset import ShardDataset
from spinml.synthesis.draw import run_draw_local
from spinml.synthesis.generate import run_generate_local
from spinml.synthesis.identity import checkpoint_identity
from spinml.training.stages import run_train_local
from tests.photos import cat, left_and_right, two_objects

TENANT = "alice"


class Home:
    """A store and its tenant: what a request's run executes, and what it left."""

    def __init__(self, folder: Path, config: ServerConfig) -> None:
        self.config = config
        self.store = ArtifactStore.from_url(f"file://{folder}/store")
        self.cache = NodeCache(folder / "cache")
        own = Operations()
        self.functions = {kind: own.function(kind) for kind in own.functions} | {
            StageKind.DRAW: run_draw_local,
            StageKind.GENERATE: run_generate_local,
            StageKind.TRAIN: run_train_local,
        }

    def plan(self, sanitized: Sanitized) -> Plan:
        """Store what was sent as the ingress does, and plan the run."""
        bundle = sanitized.bundle
        for segment in bundle.segments:
            store_segment(self.store, TENANT, segment)
        identity = checkpoint_identity(self.config.checkpoint)
        return make_plan(bundle.request, bundle.segments, self.config, identity)

    def left(self, plan: Plan) -> list[Stage]:
        """What a run of ``plan`` would execute now."""
        return missing(plan, lambda stage: self.store.exists(stage.key(TENANT)))

    def run(self, sanitized: Sanitized) -> tuple[Plan, list[Stage]]:
        """The plan, and the stages that its run executed."""
        plan = self.plan(sanitized)
        arguments = (plan, self.store, TENANT, self.config, self.functions)
        return plan, run_plan_local(*arguments, cache=self.cache)

    def files(self, plan: Plan, role: str) -> Path:
        return self.cache.fetch(self.store, plan.result(role).key(TENANT))


@pytest.fixture(scope="module")
def home(config: ServerConfig, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"), config)


def photos() -> list[SegmentedPhoto]:
    flipped = np.ascontiguousarray(cat()[:, ::-1])
    return [SegmentedPhoto(PrivatePhoto(photo), left_and_right()) for photo in (cat(), flipped)]


def counted(stages: Sequence[Stage]) -> Counter[StageKind]:
    return Counter(stage.kind for stage in stages)


def sanitized_of(request: TrainingRequest) -> Sanitized:
    return sanitize(request, photos())


def test_two_objects_from_photos_to_model_and_report(home: Home, config: ServerConfig) -> None:
    """(L2, L1, L1): each object has its own fine-tuning, one image shows both."""
    sanitized = sanitized_of(two_objects("L2", "L1", "L1"))
    plan, executed = home.run(sanitized)
    assert counted(executed)[StageKind.FINETUNE] == 3
    assert counted(executed)[StageKind.EXPAND] == 2

    token = config.prompts.identifier_token
    rows = list(ShardDataset(home.files(plan, "dataset")).rows())
    assert len(rows) == 8
    for row in rows:
        assert len(row["boxes"]) == len(row["masks"]) == 2
        assert f"{token} pill bottle is {row['label_name']}" in row["prompts"][0]
        assert f"{token} photo frame, " in row["prompts"][1]
        inputs = plan.result("dataset").inputs
        drawn = [plan.stages[inputs[role]] for role in ("target_objects", "target_2_objects")]
        assert row["target_models"] == [stage.inputs["unet"] for stage in drawn]
        assert row["background_model"] == inputs["inpainting_unet"]
    assert Predictor(home.files(plan, "export") / "model.onnx").classes == ("open", "closed")

    embedder = Path(config.checkpoint.base) / "text_image" / "embedder.onnx"
    npz = home.files(plan, "measure") / "embeddings.npz"
    measures = measure_segments(sanitized, photos(), npz, embedder=embedder)
    assert set(measures) == {"target", "target_2", "background"}
    assert all(item.prompt_sim is not None for item in measures.values())
    report = build_home_report(photos(), sanitized, measure_leakage(sanitized), measures, None)
    assert [(row.segment, *row.schemes) for row in report.leakage] == [
        ("target", "L2"), ("target_2", "L1"), ("background", "L1"),
    ]  # fmt: skip
    assert [segment.words for segment in report.segments] == [
        "pill bottle", "photo frame", "bedroom",
    ]  # fmt: skip


def test_a_mixture_makes_nothing_twice(home: Home) -> None:
    """(L2, L1, L0) with (L0, L0, L0) and (L2, L0, L0): then again, and a part of it alone."""
    mixture = [{"target": "L0"}, {"target": "L2"}]
    sanitized = sanitized_of(two_objects("L2", "L1", "L0", mixture=mixture, seed=5))
    plan, executed = home.run(sanitized)
    assert counted(executed) == {
        StageKind.EXPAND: 1,
        StageKind.PRIOR: 2,
        StageKind.FINETUNE: 2,  # bottle L2 serves two preferences, frame L1 one
        StageKind.DRAW: 4,  # bottle L2 and L0, frame L1 and L0; the middle one's L0 are shared
        StageKind.GENERATE: 3,
        StageKind.TRAIN: 1,
        StageKind.EXPORT: 1,
        StageKind.MEASURE: 1,
    }
    assert len({stage.digest for stage in executed}) == len(executed)
    folders = [home.files(plan, role) for role in ("dataset", "dataset_2", "dataset_3")]
    models = [ShardDataset(folder).row(0)["target_models"] for folder in folders]
    assert [[model[:5] == "base:" for model in pair] for pair in models] == [
        [False, False], [True, True], [False, True],
    ]  # fmt: skip
    with np.load(home.files(plan, "measure") / "embeddings.npz") as arrays:
        assert len(arrays["target_2"]) == len(arrays["index"]) == 24

    assert home.left(home.plan(sanitized)) == []
    part = home.plan(sanitized_of(two_objects("L2", "L1", "L0", seed=5)))
    assert part.results["dataset"] == plan.results["dataset"]
    assert counted(home.left(part)) == {
        StageKind.TRAIN: 1,
        StageKind.EXPORT: 1,
        StageKind.MEASURE: 1,
    }

    # Its model is trained, and validated, on all of the images.
    figures = json.loads((home.files(plan, "measure") / "figures.json").read_text())
    assert [each["images"] for each in figures["datasets"]] == [8, 8, 8]
    assert np.sum(figures["validation"]["confusion"]) == 6  # of each class one seed of four, thrice
