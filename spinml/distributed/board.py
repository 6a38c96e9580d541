"""How far stages are, and which of them shall stop: one small actor between driver and workers."""

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


class ProgressBoard:
    """Standings by token (one for each attempt at a stage).

    A token that was closed counts as cancelled: a worker that outlives its driver's interest stops
    at its next report. One that is not known is new: a board that died is started anew, with no
    memory, and that must not end the stages under way.
    """

    def __init__(self) -> None:
        self._parts: dict[str, dict[str, Standing]] = {}
        self._totals: dict[str, int] = {}
        self._closed: dict[str, None] = {}  # a set in the order of its making

    def close(self, token: str) -> None:
        """Forget ``token``; whoever still works under it is told to stop."""
        self._parts.pop(token, None)
        self._totals.pop(token, None)
        self._closed[token] = None
        if len(self._closed) > CLOSED_KEPT:
            del self._closed[next(iter(self._closed))]

    def expect(self, token: str, total: int) -> None:
        """Say how much the parts of ``token`` will be together."""
        self._totals[token] = total

    def report(self, token: str, part: str, standing: Standing) -> bool:
        """Take a report; False when the reporter shall stop."""
        if token in self._closed:
            return False
        self._parts.setdefault(token, {})[part] = standing
        return True

    def standings(self, tokens: list[str]) -> dict[str, Standing]:
        """The standing of each token that has one; parts are summed."""
        found = {}
        for token in tokens:
            parts = list(self._parts.get(token, {}).values())
            if parts:
                done = sum(part.done for part in parts)
                total = self._totals.get(token, sum(part.total for part in parts))
                found[token] = Standing(done, total, parts[-1].unit)
        return found


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

    def for_part(self, part: str) -> BoardProgress:
        """The Progress of one of several parts that run at once."""
        return BoardProgress(self.board, self.token, part)

    def expect(self, total: int) -> None:
        """Say how much all parts will be together."""
        ray.get(self.board.expect.remote(self.token, total))


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
