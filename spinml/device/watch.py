"""Following a run: in a terminal a bar for each stage, with its rate and the time left; in a log a
line whenever one begins or ends."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from spinml.device.client import Client
from spinml.device.runs import RunEvent, RunStatus, StageStatus

_MARKS = {
    "waiting": "·",
    "running": "▸",
    "done": "✓",
    "reused": "↺",
    "failed": "✗",
    "cancelled": "✗",
}


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        unit = task.fields.get("unit", "")
        return Text(f"{speed:.1f} {unit}/s" if speed else "", style="dim")


class StageBars:
    """One progress bar for each stage; tell it every :class:`StageStatus` that comes."""

    def __init__(self, console: Console):
        self.progress = Progress(
            TextColumn("{task.fields[mark]} {task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._bars: dict[str, TaskID] = {}

    def tell(self, stage: StageStatus) -> None:
        """Move the stage's bar to where it is."""
        if stage.label not in self._bars:
            self._bars[stage.label] = self.progress.add_task(
                stage.label, start=False, total=None, mark="", unit=""
            )
        bar = self._bars[stage.label]
        if stage.state == "running":
            self.progress.start_task(bar)
        ended = stage.state in ("done", "reused")
        # A stage that ended without units to count still shows a whole bar.
        total = stage.total or (1 if ended else None)
        done = total if ended and total is not None else stage.done
        self.progress.update(
            bar, completed=done, total=total, mark=_MARKS[stage.state], unit=stage.unit
        )
        if ended or stage.state in ("failed", "cancelled"):
            self.progress.stop_task(bar)


class StageLines:
    """A line whenever a stage begins or ends, for output that is no terminal, as a job's is."""

    def __init__(self, console: Console):
        self._console = console
        self._told: dict[str, str] = {}

    def tell(self, stage: StageStatus) -> None:
        """Say the stage's state, unless it waits or was said to be in it."""
        if stage.state in ("waiting", self._told.get(stage.label)):
            return
        self._told[stage.label] = stage.state
        took = f" in {stage.seconds:.0f} s" if stage.seconds and stage.state == "done" else ""
        self._console.print(
            f"{_MARKS[stage.state]} {stage.label}: {stage.state}{took}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )


def watch(
    client: Client, run: str, console: Console, on_event: Callable[[RunEvent], None] | None = None
) -> RunStatus:
    """Follow ``run`` to its end and return how it ended.

    Args:
        on_event: told every event instead of the console (for ``--json``).
    """
    if on_event is not None:
        for event in client.events(run):
            on_event(event)
        return client.status(run)
    if console.is_terminal:
        bars = StageBars(console)
        with bars.progress:
            _follow(client, run, bars.tell)
    else:
        _follow(client, run, StageLines(console).tell)
    return client.status(run)


def _follow(client: Client, run: str, tell: Callable[[StageStatus], None]) -> None:
    for stage in client.status(run).stages:
        tell(stage)
    for event in client.events(run):
        if event.stage is not None:
            tell(event.stage)
