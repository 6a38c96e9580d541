"""How long a sweep had anything at work: the rest of its time is Tune's and Ray's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Work:
    """What is going on: trial id and stage, or "home"."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    active: set[tuple[str, str]] = field(default_factory=set)
    since: float = 0.0
    busy_s: float = 0.0

    def begin(self, what: tuple[str, str]) -> None:
        with self.lock:
            if not self.active:
                self.since = time.monotonic()
            self.active.add(what)

    def end(self, what: tuple[str, str]) -> None:
        with self.lock:
            if what in self.active:
                self.active.discard(what)
                if not self.active:
                    self.busy_s += time.monotonic() - self.since

    @contextmanager
    def during(self, trial: str, what: str) -> Iterator[None]:
        """Count the block as work."""
        self.begin((trial, what))
        try:
            yield
        finally:
            self.end((trial, what))
