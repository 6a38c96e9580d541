"""Who dies when: drawn under a seed, told by the load's progress and not by the clock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.stages import executions


@dataclass(frozen=True)
class Kill:
    """``what`` dies once ``at`` executions have begun, and is down for ``down_s`` seconds."""

    at: int
    what: str
    down_s: float


@dataclass(frozen=True)
class Outage:
    what: str
    began: float
    ended: float


def draw(seed: int, whats: Sequence[str], first: int, last: int, longest_s: float) -> list[Kill]:
    """One kill for each of ``whats``, in a random order, between two counts of executions."""
    rng = random.Random(seed)
    at = sorted(rng.sample(range(first, last), len(whats)))
    order = rng.sample(list(whats), len(whats))
    return [Kill(n, what, rng.uniform(0.1, longest_s)) for n, what in zip(at, order, strict=True)]


def carry_out(
    plan: Sequence[Kill],
    log: Path,
    kill: Mapping[str, Callable[[], None]],
    start: Mapping[str, Callable[[], None]],
    timeout_s: float,
) -> list[Outage]:
    """Kill and start again as planned; when each was down, by the wall clock."""
    deadline, outages = time.monotonic() + timeout_s, []
    for planned in plan:
        while sum(map(len, executions(log).values())) < planned.at:
            assert time.monotonic() < deadline, f"no progress towards {planned}"
            time.sleep(0.05)
        began = time.time()
        kill[planned.what]()
        time.sleep(planned.down_s)
        start[planned.what]()
        outages.append(Outage(planned.what, began, time.time()))
    return outages
