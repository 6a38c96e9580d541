"""Sanitized at home, sent by a job from another machine: one run a bundle, however often sent."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from spinml.cli import app
from spinml.device.ledger import Ledger
from tests.sweep.conftest import REQUEST, make_home
from tests.sweep.served import Served, served

__all__ = ["served"]


def sanitize(folder: Path, name: str, **fields: object) -> Path:
    photos = make_home(folder / "home")
    request = folder / f"{name}.yaml"
    request.write_text(yaml.safe_dump(REQUEST | fields))
    command = ["device", "sanitize", str(request), f"{photos['references']}/p0.png"]
    command += ["--mask", f"{photos['masks']}/p0.png", "--out", str(folder / f"{name}.spinml")]
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code == 0, ended.output
    return folder / f"{name}.spinml"


def test_bundles_are_sent_from_another_machine(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = [
        sanitize(tmp_path, "words", privacy={"target": "L0"}),
        sanitize(tmp_path, "pixels", privacy={"target": "L2"}),
    ]
    written = Ledger().entries()
    assert [(entry.state, entry.server) for entry in written] == [("written", "")] * 2
    assert [segment.scheme for segment in written[1].segments] == ["L2", "L0"]
    Ledger().verify()

    monkeypatch.setenv("SPINML_API_KEY", served.keys["anna"])
    command = ["device", "send", *map(str, boxes), "--server", served.url]
    ended = CliRunner().invoke(app, [*command, "--watch", "--json"])
    assert ended.exit_code == 0, ended.output
    with served.client("anna") as client:
        runs = list(client.runs(""))
    assert [run.state for run in runs] == ["succeeded"] * 2
    assert {run.idempotency_key for run in runs} == {entry.bundle for entry in written}
    again = CliRunner().invoke(app, command)
    assert sorted(again.stdout.split()) == sorted(run.id for run in runs)

    boxes[1].write_bytes(boxes[1].read_bytes()[:-100])
    broken = CliRunner().invoke(app, command)
    assert broken.exit_code == 1
    assert served.keys["anna"] not in ended.output + again.output + broken.output
