"""Logs carry ids and places in the code, and nothing that a person said."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator

import pytest

from spinml.logs import bound, configure

log = logging.getLogger("spinml.tests")
WORDS = "my dog in the bedroom"


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    ours = logging.getLogger("spinml")
    before = ours.handlers, ours.level, ours.propagate
    for name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        monkeypatch.setenv(name, "warning")
    yield
    ours.handlers, ours.level, ours.propagate = before


def fail() -> None:
    try:
        raise ValueError(WORDS)
    except ValueError:
        log.warning("it failed", exc_info=True)


def test_json_has_the_ids_as_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json")
    with bound(run="r1"):
        with bound(stage="s1"):
            log.info("stage %s begins", "train")
        log.debug("not at this level")
        fail()
    log.error("over")
    first, second, third = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "INFO",
        "logger": "spinml.tests",
        "message": "stage train begins",
        "run": "r1",
        "stage": "s1",
    }
    assert (second["run"], "stage" in second) == ("r1", False)
    assert second["error"].startswith("ValueError at ")
    assert "test_logs.py" in second["error"]
    assert not {"run", "stage", "error"} & set(third)


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_an_exception_says_is_not_logged(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("INFO", form)
    fail()
    told = capsys.readouterr().err
    assert "ValueError at " in told
    assert WORDS not in told


def test_text_is_one_readable_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json")
    configure("WARNING", "text")  # the last one counts, and a line comes once
    with bound(run="r1", stage="s1"):
        log.info("hidden")
        log.warning("shown")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("WARNING spinml.tests: shown [run=r1 stage=s1]")


def test_ids_stay_in_their_thread(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO", "json")
    with bound(run="mine"):
        other = threading.Thread(target=lambda: log.info("other"))
        other.start()
        other.join()
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert "run" not in line


@pytest.mark.parametrize("library", ["diffusers", "transformers"])
def test_libraries_do_not_print_prompts(library: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure("DEBUG", "text")
    logging.getLogger(f"{library}.pipelines").warning("truncated: %s", WORDS)
    assert WORDS not in capsys.readouterr().err
