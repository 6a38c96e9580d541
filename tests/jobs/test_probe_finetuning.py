"""jobs/probe_finetuning.py on a tiny checkpoint, with the shipped home's references."""

from __future__ import annotations

import runpy
from pathlib import Path

import typer
import yaml
from typer.testing import CliRunner

from tests.synthesis.tiny import make_tiny_checkpoint, tiny_config

SCRIPT = Path(__file__).parents[2] / "jobs" / "probe_finetuning.py"


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command()(runpy.run_path(str(SCRIPT))["main"])
    return app


def test_base_model_and_both_methods_are_drawn_and_checked(tmp_path: Path) -> None:
    config = tmp_path / "server.yaml"
    tiny = tiny_config(make_tiny_checkpoint(tmp_path / "tiny"))
    settings = tiny.model_dump(mode="json")
    settings["finetune"]["learning_rate"] = 0.1
    config.write_text(yaml.safe_dump(settings))
    done = CliRunner().invoke(_app(), ["pet", "--config", str(config), "--each", "1"])
    assert done.exit_code == 0, done.output
    cells = [line.split("│")[1:-1] for line in done.stdout.splitlines() if line.startswith("│")]
    rows = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in cells}
    assert list(rows) == ["base model", "lora", "full"]
    for passed, probability, sim, _ in rows.values():
        assert passed == "100%", "the tiny configuration lets all drawings pass"
        assert 0 <= float(probability) <= 1
        assert -1 <= float(sim) <= 1
    assert len({tuple(row[1:3]) for row in rows.values()}) == 3, "each has weights of its own"
    assert rows["base model"][-1] == "0 s"


def test_a_task_without_classes_is_refused() -> None:
    done = CliRunner().invoke(_app(), ["bottle"])
    assert done.exit_code == 2
    assert "'bottle' has no classes" in done.output
