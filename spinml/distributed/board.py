"""How far stages are, since when, and which shall stop: an actor between driver and workers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import ray

from spinml.distributed.resources import on_this_node
from spinml.errors import StageCancelledError

REPORT_EVERY_S = 0.2
CLOSED_KEPT = 10_000
"""How many closed tokens a board remembers."""


@dataclass(frozen=True)
class Standing:
    """How far a stage is."""

    done: int
    total: int
    unit: str


@dataclass(frozen=True)
class Begun:
    """A stage that has a worker at work: it no longer waits for a node or a process."""

    seconds: float
    """Since its first worker began."""
    standing: Standing | None
    """None as long as it has not reported."""


class ProgressBoard:
    """Standings by token (one for each attempt at a stage).

    A token that was closed counts as cancelled: a worker that outlives its driver's interest stops
    at its next report. One that is not known is new: a board that died is started anew, with no
    memory, and that must not end the stages under way.
    """

    def __init__(self) -> None:
        self._begun_at: dict[str, float] = {}
        self._parts: dict[str, dict[str, Standing]] = {}
        self._expected: dict[str, Standing] = {}
        self._closed: dict[str, None] = {}  # a set in the order of its making

    def close(self, token: str) -> None:
        """Forget ``token``; whoever still works under it is told to stop."""
        self._begun_at.pop(token, None)
        self._parts.pop(token, None)
        self._expected.pop(token, None)
        self._closed[token] = None
        if len(self._closed) > CLOSED_KEPT:
            del self._closed[next(iter(self._closed))]

    def expect(self, token: str, start: Standing) -> None:
        """Say how much the parts of ``token`` will be together, and what is done already."""
        self._expected[token] = start

    def begin(self, token: str) -> bool:
        """Note that a worker begins; False when it shall stop. Of several the first counts."""
        if token in self._closed:
            return False
        self._begun_at.setdefault(token, time.monotonic())
        return True

    def report(self, token: str, part: str, standing: Standing) -> bool:
        """Take a report; False when the reporter shall stop."""
        if not self.begin(token):  # known already, unless the board was started anew
            return False
        self._parts.setdefault(token, {})[part] = standing
        return True

    def begun(self, tokens: list[str]) -> dict[str, Begun]:
        """Those of ``tokens`` that have begun."""
        now = time.monotonic()
        return {
            token: Begun(now - self._begun_at[token], self._standing(token))
            for token in tokens
            if token in self._begun_at
        }

    def _standing(self, token: str) -> Standing | None:
        """The sum of the parts."""
        parts = list(self._parts.get(token, {}).values())
        start = self._expected.get(token)
        if start is None:
            if not parts:
                return None
            start = Standing(0, sum(part.total for part in parts), parts[-1].unit)
        return Standing(start.done + sum(part.done for part in parts), start.total, start.unit)


@dataclass
class BoardProgress:
    """A Progress that reports to the board, at most every 0.2 s; pickles into workers.

    Raises:
        StageCancelledError: from the call, when the run was cancelled or its driver gave up.
    """

    board: Any
    token: str
    part: str = ""
    _reported_at: float = 0.0

    def __call__(self, done: int, total: int, unit: str) -> None:
        now = time.monotonic()
        if done < total and now - self._reported_at < REPORT_EVERY_S:
            return
        self._reported_at = now
        standing = Standing(done, total, unit)
        if not ray.get(self.board.report.remote(self.token, self.part, standing)):
            raise StageCancelledError("the run was cancelled")

    def begin(self) -> None:
        """Say that this process is at work now: from here on the stage's seconds count.

        Raises:
            StageCancelledError: as a call does.
        """
        if not ray.get(self.board.begin.remote(self.token)):
            raise StageCancelledError("the run was cancelled")

    def for_part(self, part: str) -> BoardProgress:
        """The Progress of one of several parts that run at once."""
        return BoardProgress(self.board, self.token, part)

    def expect(self, start: Standing) -> None:
        """Say how much all parts will be together, and what is done before any begins."""
        ray.get(self.board.expect.remote(self.token, start))


def start_board() -> Any:
    """A new board on this node; it ends with the process that started it, and not before."""
    board = ray.remote(ProgressBoard).options(
        num_cpus=0,
        max_concurrency=1,
        max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy=on_this_node(),
    )
    return board.remote()
