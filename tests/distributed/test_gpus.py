"""One actor for each GPU: Ray's logical GPUs, on a machine without any."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import ray

from spinml.config import ResourceConfig, Resources, ServerConfig
from spinml.distributed.cluster import connect
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import StageKind
from tests.distributed.conftest import Site

pytestmark = pytest.mark.ray


@pytest.fixture
def four_gpus() -> Iterator[None]:
    connect(num_cpus=2, num_gpus=4, object_store_bytes=200_000_000)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("four_gpus")
def test_stages_at_once_have_a_gpu_each(site: Site) -> None:
    resources = ResourceConfig(diffusion=Resources(num_cpus=0, num_gpus=1))
    site = Site(site.folder, ServerConfig(resources=resources))
    stages = [site.stage(f"tune-{index}", kind=StageKind.FINETUNE, wait_s=10) for index in range(3)]
    merge = site.stage("merge")
    executor = site.executor()
    plan = Plan({stage.digest: stage for stage in [*stages, merge]}, {})
    executor.run(plan, "alice", "run", lambda event: None)
    executor.close()

    notes = {
        path.name.split(".")[0]: json.loads(path.read_text()) for path in site.journal.glob("*")
    }
    started = [notes[f"tune-{index}"] for index in range(3)]
    assert max(note["at"] for note in started) < min(
        notes[f"tune-{index}-ended"]["at"] for index in range(3)
    )
    assert len({note["gpus"] for note in started}) == 3
    assert {note["gpus"] for note in started} <= {"0", "1", "2", "3"}
    assert notes["merge"]["gpus"] == "", "an actor without a GPU sees none"
