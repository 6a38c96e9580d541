"""A whole run of real stages on a tiny checkpoint: Ray's artifacts are the local run's."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spinml.bundle import SanitizedSegment
from spinml.config import ServerConfig
from spinml.distributed.events import StageEvent, StageState
from spinml.distributed.executor import Executor
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import NodeCache
from spinml.pipeline.plan import Plan
from spinml.pipeline.planner import make_plan
from spinml.pipeline.stages import StageKind
from spinml.request import Scheme, parse_request
from spinml.service.submit import store_segment
from tests.synthesis.tiny import make_tiny_checkpoint, tiny_config

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("two_cpus")]


def cut_outs(count: int) -> tuple[bytes, ...]:
    """RGBA PNGs of a square on nothing."""
    images = []
    for index in range(count):
        pixels = np.zeros((64, 64, 4), np.uint8)
        pixels[16:48, 16 + index : 48 + index] = (200, 120, 40, 255)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        images.append(buffer.getvalue())
    return tuple(images)


def submit(store: ArtifactStore, config: ServerConfig) -> Plan:
    """Store the sanitized segments as the ingress does, and plan the run."""
    request = parse_request(
        {
            "target_object": "dog",
            "background": "room",
            "training_objective": "what is my dog doing",
            "label_classes": ["eating", "sleeping"],
            "privacy": {"target": "L2", "background": "L0"},
        }
    )
    segments = [
        SanitizedSegment(name="target", scheme=Scheme.L2, text="dog", images=cut_outs(3)),
        SanitizedSegment(name="background", scheme=Scheme.L0, text="room"),
    ]
    for segment in segments:
        store_segment(store, "alice", segment)
    return make_plan(request, segments, config, checkpoint_id="tiny")


def test_a_run_of_real_stages(tmp_path: Path) -> None:
    config = tiny_config(make_tiny_checkpoint(tmp_path / "checkpoint"))
    store = ArtifactStore.from_url(f"file://{tmp_path}/store")
    plan = submit(store, config)
    executor = Executor(config, store, cache=NodeCache(tmp_path / "cache"))
    events: list[StageEvent] = []
    executor.run(plan, "alice", "run", events.append)
    executor.close()

    assert all(store.exists(stage.key("alice")) for stage in plan)
    dataset = store.read_manifest(plan.result("dataset").key("alice"))
    assert dataset.figures["images"] == 8
    model = store.read_manifest(plan.result("model").key("alice"))
    assert {"model.safetensors", "model.json", "history.json"} <= {
        entry.name for entry in model.files
    }
    done = {event.kind for event in events if event.state is StageState.DONE}
    assert done >= {StageKind.FINETUNE, StageKind.GENERATE, StageKind.TRAIN, StageKind.EXPORT}
    for event in events:
        if event.state is StageState.DONE:
            print(f"{event.label:24} {event.seconds:6.1f} s")  # noqa: T201 — shown with -s
