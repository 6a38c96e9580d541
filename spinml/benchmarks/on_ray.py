"""What Ray adds to a run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable

from spinml.benchmarks.bench import Bench, Row
from spinml.config import ServerConfig
from spinml.demo import home_references, home_request
from spinml.distributed.cluster import connected
from spinml.distributed.executor import Executor
from spinml.distributed.operations import Operations
from spinml.evaluation import TENANT, stored_plan
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.local import run_plan_local
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import StageKind
from spinml.privacy.sanitizer import Sanitized, sanitize
from spinml.synthesis.draw import run_draw_local
from spinml.synthesis.generate import run_generate_local
from spinml.training.stages import run_train_local


def benchmark_ray(bench: Bench) -> list[Row]:
    """A whole run on a Ray cluster of this machine against its stages in this process.

    One of each, for a run is long. What Ray adds counts the start and the end of the cluster,
    which a service pays once and not by run; they are told apart, too.
    """
    request = home_request(target="L2", background="L0", seed=0)
    sanitized = sanitize(request, home_references(request).photos)
    bench.tell("ray: a run on Ray")
    on_ray, walk = _run_seconds(bench.config, sanitized, _run_on_ray)
    bench.tell("ray: the same in one process")
    in_process, _ = _run_seconds(bench.config, sanitized, _run_in_process)
    share = 100 * (on_ray / in_process - 1)
    return [
        Row("A run on Ray", on_ray, "s"),
        Row("of it, start and end of the cluster", on_ray - walk, "s"),
        Row("A run in one process", in_process, "s"),
        Row("What Ray adds", share, "%", "≤ 10", share <= 10),
    ]


RunPlan = Callable[[Plan, ArtifactStore, ServerConfig], float]
"""Runs a plan and gives the seconds that its stages took, actors' start included."""


def _run_seconds(config: ServerConfig, sanitized: Sanitized, run: RunPlan) -> tuple[float, float]:
    """Seconds of ``run`` on an empty store: all in all, and of its stages."""
    with tempfile.TemporaryDirectory(prefix="spinml-benchmark-") as name:
        store = ArtifactStore.from_url(f"file://{name}")
        plan = stored_plan(store, config, sanitized)
        began = time.monotonic()
        walk = run(plan, store, config)
        return time.monotonic() - began, walk


def _run_on_ray(plan: Plan, store: ArtifactStore, config: ServerConfig) -> float:
    with connected():
        executor = Executor(config, store)
        began = time.monotonic()
        try:
            executor.run(plan, TENANT, "benchmark", lambda event: None)
        finally:
            executor.close()
        return time.monotonic() - began


def _run_in_process(plan: Plan, store: ArtifactStore, config: ServerConfig) -> float:
    began = time.monotonic()
    operations = Operations()
    functions = {kind: operations.function(kind) for kind in operations.functions}
    functions |= {
        StageKind.DRAW: run_draw_local,
        StageKind.GENERATE: run_generate_local,
        StageKind.TRAIN: run_train_local,
    }
    run_plan_local(plan, store, TENANT, config, functions)
    return time.monotonic() - began
