"""The benchmark on the tiny checkpoint: what is measured, and that verdicts follow values."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from typer.testing import CliRunner

from spinml.benchmarks.bench import Bench, Row
from spinml.benchmarks.memory import MEMORY_STAGES
from spinml.benchmarks.output import nothing_on_stdout
from spinml.benchmarks.preview import one_core
from spinml.benchmarks.service import service_rows
from spinml.benchmarks.sweep import sharing_rows
from spinml.loadtest.account import Books
from spinml.loadtest.devices import Outcome
from spinml.loadtest.fairness import Share
from spinml.loadtest.figures import Loaded, ServiceFigures
from spinml.loadtest.processes import Memory
from spinml.loadtest.recovery import Recoveries
from spinml.loadtest.samples import Latency
from spinml.loadtest.speed import Speed
from spinml.tradeoffs.benchmark import SharingFigures
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


def test_the_allocators_two_ways_are_compared(benchmark: ModuleType, bench: object) -> None:
    speed, faults, own_speed, own_faults, gain = benchmark.benchmark_allocator(bench)
    assert gain.value == pytest.approx(speed.value / own_speed.value)
    assert (speed.unit, faults.unit, own_faults.unit) == ("steps/s", "a step", "a step")
    assert own_faults.value > 0


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
    with one_core():
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
    assert [row["name"] for row in rows] == [f"Peak memory, {s}" for s in MEMORY_STAGES]
    assert all(0.1 < row["value"] < 8 for row in rows)
    wrong = CliRunner().invoke(app, ["--config", str(file), "--only", "speed"])
    assert wrong.exit_code == 2
    assert "speed" in wrong.output


def test_verdicts_of_a_sweep_follow_its_figures() -> None:
    figures = SharingFigures(
        sweep_s=80.0,
        alone_s=200.0,
        stage_share=0.5,
        overhead=0.1,
        added_stages=5,
        made_again=1,
        mib_a_trial=0.2,
    )
    rows = {row.name: row for row in sharing_rows(figures)}
    assert rows["The sweep's share, by the clock"].value == pytest.approx(40)
    met = [row.met for row in rows.values() if row.wanted]
    assert met == [True, False, True, False, True]


def test_the_services_rows_follow_its_figures() -> None:
    taken = Latency(count=10, p50_ms=5.0, p99_ms=9.0)
    before = {"proxy": Memory(200.0, 100.0), "dispatcher": Memory(300.0, 150.0)}
    after = {"proxy": Memory(210.0, 110.0), "dispatcher": Memory(400.0, 250.0)}
    outcome = Outcome(first_stage_s=[1.0, 3.0], seconds=60.0)
    outcome.samples.took("submit", 0.02)
    figures = ServiceFigures(
        speeds=[Speed("Serve", 50, 100.0, taken)],
        first_stage_s=[0.2, 0.4],
        loaded=Loaded(outcome, Books(1000, ("key",), (), (), ()), before, after),
        alone=(Share(1.0, 100, 8.0, 16.0, 0.98), Share(1.0, 1, 0.5, 0.5, 0.02)),
        weighted=(Share(3.0, 50, 4.0, 9.0, 0.7), Share(1.0, 50, 7.0, 9.0, 0.3)),
        recoveries=Recoveries("SQLite", {"proxy": 2.5}, lost=0),
    )
    rows = {row.name: row for row in service_rows(figures)}
    assert rows["Serve, 50 devices: p99"].value == 9.0
    assert rows["One device: submit to first stage, p50"].value == pytest.approx(0.3)
    assert rows["1000 runs: submit, p50"].value == pytest.approx(20)
    assert rows["Memory after 1000 runs, proxy: its own"].value == 110.0
    assert rows["Fair share, 1 run behind them: wait"].value == 0.5
    assert rows["Recovery from a killed proxy (SQLite)"].value == 2.5
    missed = {name for name, row in rows.items() if row.met is False}
    assert missed == {"1000 runs: lost", "Memory after 1000 runs, dispatcher: grown"}
    assert rows["Fair share, weight 3 beside 1: of the first half"].met


def test_benchmarks_are_named_by_word_or_by_option(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in benchmark.BENCHMARKS:
        row = benchmark.Row(name, 1.0, "s")
        monkeypatch.setitem(benchmark.BENCHMARKS, name, lambda bench, row=row: [row])
    app = benchmark.typer.Typer()
    app.command()(benchmark.main)
    for words, wanted in {
        ("service",): ["service"],
        ("ray", "service", "--only", "ray", "--only", "memory"): ["ray", "service", "memory"],
        (): list(benchmark.BENCHMARKS),
    }.items():
        result = CliRunner().invoke(app, [*words, "--json"])
        assert [row["name"] for row in json.loads(result.stdout)] == wanted
    assert CliRunner().invoke(app, ["speed"]).exit_code == 2


def test_stdout_has_the_result_alone(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def noisy(bench: Bench) -> list[Row]:
        bench.tell("what [is] measured")
        sys.stdout.write("(raylet) a worker died\n")
        subprocess.run(["echo", "a child's line"], check=True)
        return [Row("noisy", 1.0, "s")]

    monkeypatch.setitem(benchmark.BENCHMARKS, "ray", noisy)
    benchmark.main(["ray"], as_json=True)
    out, err = capfd.readouterr()
    assert [row["name"] for row in json.loads(out)] == ["noisy"]
    for line in ("what [is] measured", "(raylet) a worker died", "a child's line"):
        assert line in err


def fail_silently() -> None:
    with nothing_on_stdout():
        sys.stdout.write("not seen\n")
        raise ValueError("broken")


def test_stdout_is_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"):
        fail_silently()
    subprocess.run(["echo", "child"], check=True)
    sys.stdout.write("back\n")
    assert capfd.readouterr().out == "child\nback\n"
