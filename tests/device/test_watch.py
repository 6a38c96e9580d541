"""Following a run: bars in a terminal, lines in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from spinml.device.client import Client
from spinml.device.watch import watch
from tests.device.server import RUN, Script, events, run_status, stage, told


def followed(terminal: bool) -> str:
    """What ``watch`` writes of a run whose stage begins, goes on, starts again and ends."""
    waiting = run_status("running", stages=[stage(0, "waiting")["stage"]])
    script = Script(
        told(waiting),
        events(
            ("1", "stage", stage(0)),
            ("2", "stage", stage(3)),
            ("3", "stage", stage(0, "waiting")),
            ("4", "stage", stage(5)),
            ("5", "stage", stage(10, "done")),
            ("6", "state", {"state": "succeeded"}),
        ),
        told(run_status("succeeded")),
    )
    written = io.StringIO()
    with Client("http://server/", "key", transport=script, attempts=1) as client:
        console = Console(file=written, force_terminal=terminal, width=100)
        assert watch(client, RUN, console).state == "succeeded"
    return written.getvalue()


def test_a_log_has_a_line_whenever_a_stage_begins_or_ends() -> None:
    assert followed(terminal=False).splitlines() == [
        "▸ fine-tune target: running",
        "✓ fine-tune target: done in 2 s",
    ]


@pytest.mark.parametrize("piece", ["✓ fine-tune target", "10/10", "━"])
def test_a_terminal_has_a_bar_for_each_stage(piece: str) -> None:
    assert piece in followed(terminal=True)
