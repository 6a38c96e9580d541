"""``spinml sweep`` as a person calls it, with real stages on the tiny checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from spinml.cli import app
from spinml.errors import ConfigError
from spinml.tradeoffs.command import standings_table
from spinml.tradeoffs.standing import Standing, TrialState
from tests.sweep.conftest import make_spec
from tests.synthesis.tiny import make_tiny_checkpoint, tiny_config


def write_sweep(path: Path, photos: dict[str, str]) -> Path:
    space = {"preferences": [{"target": "L2"}, {"target": "L9"}]}
    path.write_text(yaml.safe_dump(make_spec(photos, space=space).model_dump(mode="json")))
    return path


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_stages_from_file_to_report(tmp_path: Path, photos: dict[str, str]) -> None:
    config = tiny_config(make_tiny_checkpoint(tmp_path / "tiny")).model_dump(mode="json")
    config |= {"preset": None, "store": {"artifacts": f"file://{tmp_path}/store"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    sweep, out = write_sweep(tmp_path / "sweep.yaml", photos), tmp_path / "out"
    command = ["sweep", str(sweep), "--config", str(tmp_path / "config.yaml"), "--out", str(out)]
    ended = CliRunner().invoke(app, [*command, "--json"])
    assert ended.exit_code == 0, ended.output
    (result,) = json.loads(ended.stdout)
    (trial,) = result["trials"]
    assert (trial["label"], trial["photos"]) == ("(L2, L0)", 4)
    assert trial["leakage"]["target"]["mi"] > 0.5
    assert -1 <= trial["leakage"]["target"]["sim"] <= 1
    assert [broken["error"]["code"] for broken in result["failed"]] == ["invalid_request"]
    html = (out / "report.html").read_text()
    assert html.count("<svg") == 5
    assert "privacy.target" in html


def test_two_tasks_of_one_name_are_refused(tmp_path: Path, photos: dict[str, str]) -> None:
    files = [str(write_sweep(tmp_path / name, photos)) for name in ("a.yaml", "b.yaml")]
    ended = CliRunner().invoke(app, ["sweep", *files])
    assert isinstance(ended.exception, ConfigError)
    assert "cats" in ended.exception.message


def test_the_live_table_counts_and_shows_what_runs_first() -> None:
    standings = [
        Standing("(L0, L0)", 0, TrialState.DONE, "", 0.5),
        Standing("(L1, L0)", 0, TrialState.RUNNING, "train 3/8 epochs"),
        Standing("(L2, L0)", 0, TrialState.WAITING),
    ]
    table = standings_table("pet", standings)
    assert table.title == "pet: 1 waiting, 1 running, 1 done"
    assert next(iter(table.columns[0].cells)) == "(L1, L0)"
    assert table.row_count == 3
