"""The top command: its parts are mounted, and errors come out as words or JSON."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner

from spinml import __version__
from spinml.cli import app, main, need_extra
from spinml.errors import MissingExtraError

RUNNER = CliRunner()


def test_version() -> None:
    assert RUNNER.invoke(app, ["version"]).output.strip() == __version__


@pytest.mark.parametrize("part", ["device", "demo", "serve", "sweep", "admin"])
def test_every_part_has_help(part: str) -> None:
    result = RUNNER.invoke(app, [part, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_missing_extra_names_the_install() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'spinml\[server\]'"):
        need_extra("no_such_module_here", "server")


def test_errors_are_words_as_they_stand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise MissingExtraError("no [/x] here", remedy="pip install 'spinml[server]'")

    monkeypatch.setattr("spinml.cli.app", fail)
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().err
    assert "no [/x] here" in told
    assert "'spinml[server]'" in told


def test_errors_are_json_where_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["spinml", "demo", "--target", "L7", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "invalid_request"
    assert any("privacy.target" in problem for problem in error["details"]["problems"])
