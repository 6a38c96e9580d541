"""The benchmark on the tiny checkpoint: what is measured, and that verdicts follow values."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from typer.testing import CliRunner

from tests.synthesis.tiny import make_tiny_checkpoint, tiny_config


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """jobs/benchmark.py, which is a script and in no package."""
    path = Path(__file__).parents[1] / "jobs" / "benchmark.py"
    spec = importlib.util.spec_from_file_location("spinml_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bench(benchmark: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> object:
    config = tiny_config(make_tiny_checkpoint(tmp_path_factory.mktemp("tiny")))
    return benchmark.Bench(config, repeats=1, steps=2)


def test_finetune_compares_with_and_without_caches(benchmark: ModuleType, bench: object) -> None:
    cached, plain, gain, encoding, drawing = benchmark.benchmark_finetune(bench)
    assert gain.value == pytest.approx(cached.value / plain.value)
    assert gain.met == (gain.value >= 1.5)
    assert encoding.value == pytest.approx(100 * (1 - plain.value / cached.value))
    assert 0 < drawing.value < 50


def test_sampling_compares_batch_1_with_the_configured_one(
    benchmark: ModuleType, bench: object
) -> None:
    one, batch, gain = benchmark.benchmark_sampling(bench)
    assert batch.name == "Sampling, batch 4"
    assert gain.value == pytest.approx(batch.value / one.value)


def test_preview_is_measured_on_one_core(benchmark: ModuleType, bench: object) -> None:
    cores = os.sched_getaffinity(0)
    with benchmark.one_core():
        assert len(os.sched_getaffinity(0)) == 1
    (row,) = benchmark.benchmark_preview(bench)
    assert os.sched_getaffinity(0) == cores
    assert 0 < row.value < 60
    assert row.met == (row.value <= 0.5)


@pytest.mark.ray
@pytest.mark.slow
def test_ray_is_compared_with_one_process(benchmark: ModuleType, bench: object) -> None:
    on_ray, cluster, in_process, added = benchmark.benchmark_ray(bench)
    assert 0 < cluster.value < on_ray.value
    assert added.value == pytest.approx(100 * (on_ray.value / in_process.value - 1))


@pytest.mark.slow
def test_the_command_prints_json_and_knows_its_names(benchmark: ModuleType, tmp_path: Path) -> None:
    config = tiny_config(make_tiny_checkpoint(tmp_path / "tiny"))
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json") | {"preset": None}))
    app = benchmark.typer.Typer()
    app.command()(benchmark.main)
    result = CliRunner().invoke(app, ["--config", str(file), "--only", "memory", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [row["name"] for row in rows] == [f"Peak memory, {s}" for s in benchmark.MEMORY_STAGES]
    assert all(0.1 < row["value"] < 8 for row in rows)
    wrong = CliRunner().invoke(app, ["--config", str(file), "--only", "speed"])
    assert wrong.exit_code == 2
    assert "speed" in wrong.output


def test_verdicts_of_a_sweep_follow_its_figures(benchmark: ModuleType) -> None:
    figures = benchmark.SharingFigures(
        sweep_s=80.0,
        alone_s=200.0,
        stage_share=0.5,
        overhead=0.1,
        added_stages=5,
        made_again=1,
        mib_a_trial=0.2,
    )
    rows = {row.name: row for row in benchmark.sharing_rows(figures)}
    assert rows["The sweep's share, by the clock"].value == pytest.approx(40)
    met = [row.met for row in rows.values() if row.wanted]
    assert met == [True, False, True, False, True]
