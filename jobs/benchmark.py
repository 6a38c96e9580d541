"""Speed of SpinML's parts on this machine, as a table or as JSON.

    python jobs/benchmark.py --config cluster/laptop.yaml
    python jobs/benchmark.py --json finetune
    python jobs/benchmark.py service

A benchmark is a function that takes :class:`Bench` and gives :class:`Row` s; list it in
``BENCHMARKS``. Compared speeds are measured in turns, so that another busy process hits both.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import ray
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from spinml.config import ServerConfig, load_config
from spinml.demo import home_references, home_request
from spinml.device.photos import load_photos
from spinml.device.preview import write_preview
from spinml.distributed.cluster import connect, connected
from spinml.distributed.executor import Executor
from spinml.distributed.operations import Operations
from spinml.errors import SpinMLError
from spinml.evaluation import TENANT, stored_plan
from spinml.home.photos import shipped_home
from spinml.loadtest.figures import Loaded, ServiceFigures, measure_service
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.local import run_plan_local
from spinml.pipeline.plan import Plan
from spinml.pipeline.stages import StageKind
from spinml.privacy.leakage import measure_leakage
from spinml.privacy.sanitizer import Sanitized, sanitize
from spinml.synthesis.checkpoint import Checkpoint
from spinml.synthesis.diffusion import Order, Sampler
from spinml.synthesis.draw import run_draw_local
from spinml.synthesis.dreambooth import finetune
from spinml.synthesis.examples import CachedExamples, Examples, ReferenceSet
from spinml.synthesis.generate import run_generate_local
from spinml.synthesis.prompts import Prompts
from spinml.synthesis.references import prepare_references
from spinml.tradeoffs.benchmark import SharingFigures, measure_sharing
from spinml.training.stages import run_train_local


@dataclass(frozen=True)
class Row:
    """One measured figure; ``wanted`` says what was promised, ``met`` whether it holds."""

    name: str
    value: float
    unit: str
    wanted: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Bench:
    """What benchmarks share. ``repeats`` pairs of measurements; medians are reported."""

    config: ServerConfig
    repeats: int = 3
    steps: int = 10

    @cached_property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint.load(self.config.checkpoint)

    def references(self, count: int) -> ReferenceSet:
        """Reference images of noise: their content does not change the time."""
        size_px = self.config.checkpoint.resolution_px
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (size_px, size_px, 3), np.uint8) for _ in range(count)]
        caption = Prompts(self.config.prompts).unlabelled("dog", tuned=True)
        return ReferenceSet(prepare_references(images, "target", size_px), [caption] * count)


def benchmark_finetune(bench: Bench) -> list[Row]:
    """DreamBooth's optimiser steps a second with and without the caches, in turns.

    A batch is ``batch_size`` references and as many class images. What drawing batches still takes
    of a cached step is timed, too: no better cache could save more than that.
    """
    settings = bench.config.finetune.model_copy(update={"steps": bench.steps})
    references, class_images = bench.references(8), bench.references(8)
    speeds: dict[bool, list[float]] = {True: [], False: []}
    for repeat in range(bench.repeats + 1):
        for cache in (True, False):
            chosen = settings.model_copy(update={"cache": cache})
            tuning = finetune(bench.checkpoint, references, class_images, chosen, seed=repeat)
            if repeat:  # the first pair warms up
                speeds[cache].append(tuning.steps_per_s)
    cached, uncached = median(speeds[True]), median(speeds[False])
    gain = median(with_ / without for with_, without in zip(*speeds.values(), strict=True))
    examples = CachedExamples(
        bench.checkpoint, references, class_images, settings.batch_size, seed=0
    )
    draws = bench.steps * settings.gradient_accumulation
    left = _seconds_of_draws(examples, draws) / bench.steps * cached
    return [
        Row("DreamBooth, cached", cached, "steps/s"),
        Row("DreamBooth, without caches", uncached, "steps/s"),
        Row("DreamBooth, gain of the caches", gain, "x", "≥ 1.5", gain >= 1.5),
        Row("Encoding, of a step without caches", 100 * (1 - 1 / gain), "%"),
        Row("Drawing, of a cached step", 100 * left, "%"),
    ]


def _seconds_of_draws(examples: Examples, count: int) -> float:
    """Seconds of ``count`` batches, none of them still being computed on a GPU at the end."""
    began = time.monotonic()
    for _ in range(count):
        examples.draw().latents.cpu()
    return time.monotonic() - began


def benchmark_sampling(bench: Bench) -> list[Row]:
    """Images a second at batch 1 and at the configured batch, in turns."""
    batch = bench.config.generation.batch_size
    speeds: dict[int, list[float]] = {1: [], batch: []}
    for repeat in range(bench.repeats + 1):
        for size, count in ((1, 2), (batch, batch)):
            speed = _images_per_s(bench, size, count)
            if repeat:
                speeds[size].append(speed)
    ratios = [large / one for large, one in zip(speeds[batch], speeds[1], strict=True)]
    return [
        Row("Sampling, batch 1", median(speeds[1]), "images/s"),
        Row(f"Sampling, batch {batch}", median(speeds[batch]), "images/s"),
        Row("Sampling, gain of the batch", median(ratios), "x", "≥ 2", median(ratios) >= 2),
    ]


def _images_per_s(bench: Bench, batch_size: int, count: int) -> float:
    generation = bench.config.generation
    sampler = Sampler(
        bench.checkpoint,
        steps=generation.steps,
        guidance_scale=generation.guidance_scale,
        batch_size=batch_size,
    )
    prompt = Prompts(bench.config.prompts).labelled("dog", "eating", tuned=False)
    began = time.monotonic()
    sampler.sample(bench.checkpoint.unet, Order([prompt] * count, list(range(count))))
    return count / (time.monotonic() - began)


MEMORY_STAGES = ("load", "finetune", "generate")


def benchmark_memory(bench: Bench) -> list[Row]:
    """Peak resident memory of each stage, each in a process of its own."""
    rows = []
    for stage in MEMORY_STAGES:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write(bench.config.model_dump_json())
            file.flush()
            command = [sys.executable, __file__, "--memory-of", stage, "--config-json", file.name]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peak_gib = json.loads(out.splitlines()[-1])["peak_gib"]
        rows.append(Row(f"Peak memory, {stage}", peak_gib, "GiB", "≤ 8", peak_gib <= 8))
    return rows


def _memory_of(stage: str, bench: Bench) -> float:
    """GiB that this process held at most, after doing a little of ``stage``."""
    _ = bench.checkpoint
    if stage == "finetune":
        settings = bench.config.finetune.model_copy(update={"steps": 2})
        images = bench.references(8)
        finetune(bench.checkpoint, images, images, settings, seed=0)
    elif stage == "generate":
        _images_per_s(bench, bench.config.generation.batch_size, bench.config.generation.batch_size)
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text()
    peak_kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak_kib) / 2**20


def benchmark_preview(bench: Bench) -> list[Row]:
    """Seconds a photo of 640 px from file to preview, on one core."""
    with tempfile.TemporaryDirectory(prefix="spinml-benchmark-") as name, one_core():
        photos = _enlarged(shipped_home("pet").references(), Path(name), 640)
        request = home_request(target="L2", background="L2", seed=0)
        seconds = []
        for _ in range(bench.repeats + 1):
            began = time.monotonic()
            sanitized = sanitize(request, load_photos(request, photos).photos)
            write_preview(sanitized, measure_leakage(sanitized), Path(name) / "preview")
            seconds.append((time.monotonic() - began) / len(photos))
    value = median(seconds[1:])
    return [Row("Device preview, 640 px, one core", value, "s/photo", "≤ 0.5", value <= 0.5)]


@contextmanager
def one_core() -> Iterator[None]:
    """Hold this process and the threads that it starts meanwhile on one core.

    BLAS computes with one thread meanwhile: two that wait for each other on one core take minutes.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        with threadpool_limits(1):
            yield
    finally:
        os.sched_setaffinity(0, cores)


def _enlarged(photos: Sequence[Path], folder: Path, side_px: int) -> list[Path]:
    paths = []
    for number, photo in enumerate(photos):
        path = folder / f"photo_{number}.jpg"
        Image.open(photo).resize((side_px, side_px), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths


def benchmark_ray(bench: Bench) -> list[Row]:
    """A whole run on a Ray cluster of this machine against its stages in this process.

    One of each, for a run is long. What Ray adds counts the start and the end of the cluster,
    which a service pays once and not by run; they are told apart, too.
    """
    request = home_request(target="L2", background="L0", seed=0)
    sanitized = sanitize(request, home_references(request).photos)
    on_ray, walk = _run_seconds(bench.config, sanitized, _run_on_ray)
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
    connect()
    try:
        executor = Executor(config, store)
        began = time.monotonic()
        try:
            executor.run(plan, TENANT, "benchmark", lambda event: None)
        finally:
            executor.close()
        return time.monotonic() - began
    finally:
        ray.shutdown()


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


def benchmark_sweep(bench: Bench) -> list[Row]:
    """Nine preferences as a sweep against nine runs that share nothing; hours on two cores."""
    request = home_request(target="L0", background="L0", seed=0)
    figures = measure_sharing(bench.config, request.model_dump(mode="json"), connected)
    return sharing_rows(figures)


def sharing_rows(found: SharingFigures) -> list[Row]:
    """The rows of :func:`benchmark_sweep`."""
    clock, stages = 100 * found.sweep_s / found.alone_s, 100 * found.stage_share
    overhead, again = 100 * found.overhead, found.made_again
    return [
        Row("Nine preferences, one sweep", found.sweep_s, "s"),
        Row("Nine preferences, nothing shared", found.alone_s, "s"),
        Row("The sweep's share, by the clock", clock, "%", "≤ 45", clock <= 45),
        Row("The sweep's share, by stages' seconds", stages, "%", "≤ 45", stages <= 45),
        Row("Tune's and Ray's overhead beside stages", overhead, "%", "≤ 10", overhead <= 10),
        Row("Stages that one preference more executes", found.added_stages, "stages"),
        Row("Of these, made before", again, "stages", "0", again == 0),
        Row("Memory of the host", found.mib_a_trial, "MiB/trial", "≤ 5", found.mib_a_trial <= 5),
    ]


def benchmark_service(bench: Bench) -> list[Row]:
    """The service on Serve under simulated devices, its stages idle; about ten minutes.

    Beside bare uvicorn with the same application; fair shares; recovery after kills; memory.
    """
    return service_rows(measure_service())


def service_rows(found: ServiceFigures) -> list[Row]:
    """The rows of :func:`benchmark_service`."""
    rows = []
    for speed in found.speeds:
        name = f"{speed.server}, {speed.devices} devices: "
        rows += [
            Row(f"{name}requests", speed.requests_per_s, "1/s"),
            Row(f"{name}p50", speed.latency.p50_ms, "ms"),
            Row(f"{name}p99", speed.latency.p99_ms, "ms"),
        ]
    rows += _first_stage_rows("One device", found.first_stage_s)
    return [*rows, *_load_rows(found.loaded), *_share_rows(found), *_recovery_rows(found)]


def _first_stage_rows(what: str, seconds: Sequence[float]) -> list[Row]:
    p50, p99 = np.percentile(np.array(seconds), [50, 99])
    return [
        Row(f"{what}: submit to first stage, p50", float(p50), "s"),
        Row(f"{what}: submit to first stage, p99", float(p99), "s"),
    ]


def _load_rows(loaded: Loaded) -> list[Row]:
    outcome, books = loaded.outcome, loaded.books
    runs = f"{books.runs} runs"
    rows = [
        Row(f"{runs} in all", outcome.seconds, "s"),
        Row(f"{runs}: lost", len(books.lost), "runs", "0", not books.lost),
        Row(f"{runs}: duplicated", len(books.duplicated), "runs", "0", not books.duplicated),
        Row(f"{runs}: not succeeded", len(books.unfinished), "runs", "0", not books.unfinished),
        Row(f"{runs}: answers 429 and 503", outcome.samples.sent_away.count, "answers"),
        *_first_stage_rows(f"{runs}, most of them queued", outcome.first_stage_s),
    ]
    for kind, latency in outcome.samples.latencies().items():
        rows += [
            Row(f"{runs}: {kind}, p50", latency.p50_ms, "ms"),
            Row(f"{runs}: {kind}, p99", latency.p99_ms, "ms"),
        ]
    for name, after in loaded.after.items():
        grown = after.uss_mib - loaded.before[name].uss_mib
        rows += [
            Row(f"Memory after {runs}, {name}: resident", after.rss_mib, "MiB"),
            Row(f"Memory after {runs}, {name}: its own", after.uss_mib, "MiB"),
            Row(f"Memory after {runs}, {name}: grown", grown, "MiB", "≤ 64", grown <= 64),
        ]
    return rows


def _share_rows(found: ServiceFigures) -> list[Row]:
    (busy, late), (heavy, light) = found.alone, found.weighted
    wanted = heavy.weight / (heavy.weight + light.weight)
    met = abs(heavy.share_of_first_half - wanted) <= 0.1
    return [
        Row(f"Fair share, {busy.runs} runs: median wait", busy.median_wait_s, "s"),
        Row(f"Fair share, {busy.runs} runs: longest wait", busy.longest_wait_s, "s"),
        Row(f"Fair share, {late.runs} run behind them: wait", late.longest_wait_s, "s"),
        *(
            Row(
                f"Fair share, {share.runs} runs of weight {share.weight:g}: median wait",
                share.median_wait_s,
                "s",
            )
            for share in (heavy, light)
        ),
        Row(
            f"Fair share, weight {heavy.weight:g} beside {light.weight:g}: of the first half",
            100 * heavy.share_of_first_half,
            "%",
            f"{100 * wanted:.0f} ± 10",
            met,
        ),
    ]


def _recovery_rows(found: ServiceFigures) -> list[Row]:
    recoveries = found.recoveries
    return [
        *(
            Row(f"Recovery from a killed {name} ({recoveries.database})", seconds, "s")
            for name, seconds in recoveries.seconds.items()
        ),
        Row("Runs lost by kills", recoveries.lost, "runs", "0", recoveries.lost == 0),
    ]


BENCHMARKS: dict[str, Callable[[Bench], Sequence[Row]]] = {
    "finetune": benchmark_finetune,
    "sampling": benchmark_sampling,
    "memory": benchmark_memory,
    "preview": benchmark_preview,
    "ray": benchmark_ray,
    "sweep": benchmark_sweep,
    "service": benchmark_service,
}


def _print_table(rows: Sequence[Row]) -> None:
    table = Table("what", "measured", "wanted", "")
    for row in rows:
        mark = "" if row.met is None else "yes" if row.met else "NO"
        table.add_row(row.name, f"{row.value:.2f} {row.unit}", row.wanted, mark)
    Console().print(table)


def main(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME…", help=f"{', '.join(BENCHMARKS)}; or all")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML; default: the defaults")] = None,
    only: Annotated[list[str] | None, typer.Option(help="The same as NAME.")] = None,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
    steps: Annotated[int, typer.Option(min=1, help="DreamBooth steps a measurement")] = 10,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    memory_of: Annotated[str | None, typer.Option(hidden=True)] = None,
    config_json: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure and print."""
    loaded = load_config(config)
    if config_json is not None:
        loaded = ServerConfig.model_validate_json(config_json.read_text())
    bench = Bench(loaded, repeats, steps)
    if memory_of is not None:
        print(json.dumps({"peak_gib": _memory_of(memory_of, bench)}))
        return
    chosen = list(dict.fromkeys([*(names or ()), *(only or ())])) or list(BENCHMARKS)
    unknown = sorted(set(chosen) - set(BENCHMARKS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    rows = [row for name in chosen for row in BENCHMARKS[name](bench)]
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        _print_table(rows)


if __name__ == "__main__":
    try:
        typer.run(main)
    except SpinMLError as error:
        sys.exit(f"{type(error).__name__}: {error}")
