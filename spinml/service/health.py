"""What the service needs, tested: each test has a time limit, and one thread at most.

``/readyz`` is open to everybody, so that a test is not made anew for each question: who asks while
it runs waits for the same result, and a result is kept for a moment.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait

from spinml.distributed.cluster import ping
from spinml.errors import ServerUnavailableError, SpinMLError
from spinml.service.database import UNAVAILABLE, Database, unavailable
from spinml.service.heartbeats import FRESH_S, latest
from spinml.service.models import now
from spinml.service.state import ServiceState

LIMIT_S = 3.0
KEEP_S = 1.0


class Check:
    """One test, and its last result.

    A test that hangs keeps its thread, and counts as failed until it ends: the next one begins
    after that, so that a hanging database costs one thread and not one for each probe.
    """

    def __init__(self, name: str, test: Callable[[], None], keep_s: float = KEEP_S) -> None:
        """
        Args:
            test: raises what is wrong.
            keep_s: how long a result answers for the next questions.
        """
        self.name = name
        self._test = test
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._result: Future[str | None] | None = None
        self._ended_at = 0.0

    def begin(self) -> Future[str | None]:
        """The test under way or just made, or a new one: None, or what is wrong."""
        with self._lock:
            result = self._result
            if result is not None:
                is_old = result.done() and time.monotonic() - self._ended_at > self._keep_s
                if not is_old:
                    return result
            result = self._result = Future()
            threading.Thread(
                target=self._run, args=(result,), name=f"check-{self.name}", daemon=True
            ).start()
            return result

    def _run(self, result: Future[str | None]) -> None:
        wrong = _wrong(self._test)
        self._ended_at = time.monotonic()
        result.set_result(wrong)


class Readiness:
    """All that must be there for runs to be taken and carried out."""

    def __init__(self, checks: tuple[Check, ...], limit_s: float = LIMIT_S) -> None:
        self._checks = checks
        self._limit_s = limit_s

    @classmethod
    def of(cls, state: ServiceState, limit_s: float = LIMIT_S) -> Readiness:
        """Database, store, dispatcher and Ray of a service."""
        return cls(
            (
                Check("database", state.database.check),
                Check("store", state.store.probe),
                Check("dispatcher", lambda: expect_dispatcher(state.database)),
                Check("ray", ping),
            ),
            limit_s,
        )

    def failed(self) -> dict[str, str]:
        """Name → what is wrong, of every check that failed; takes no longer than the limit."""
        asked = self._begin()
        wait(asked.values(), self._limit_s)
        return self._failed(asked)

    async def failed_soon(self) -> dict[str, str]:
        """The same on an event loop, without one of its threads: hanging requests may hold all."""
        asked = self._begin()
        await asyncio.wait(map(asyncio.wrap_future, asked.values()), timeout=self._limit_s)
        return self._failed(asked)

    def _begin(self) -> dict[str, Future[str | None]]:
        return {check.name: check.begin() for check in self._checks}

    def _failed(self, asked: dict[str, Future[str | None]]) -> dict[str, str]:
        found = {
            name: result.result() if result.done() else f"no answer within {self._limit_s:g} s"
            for name, result in asked.items()
        }
        return {name: wrong for name, wrong in found.items() if wrong is not None}


def expect_dispatcher(database: Database) -> None:
    """Refuse when no dispatcher works.

    Raises:
        ServerUnavailableError: the last heartbeat is too old, or there is none.
        SQLAlchemyError: the database cannot be asked.
    """
    with database.read() as session:
        heartbeat = latest(session)
    if heartbeat is None:
        raise ServerUnavailableError("no dispatcher has begun")
    silent_s = (now() - heartbeat.beat_at).total_seconds()
    if silent_s > FRESH_S:
        raise ServerUnavailableError(f"no dispatcher was heard of for {silent_s:.0f} s")


def _wrong(test: Callable[[], None]) -> str | None:
    """What a test raised, without what may be private: an address, a path."""
    try:
        test()
    except SpinMLError as error:
        return error.message
    except UNAVAILABLE as error:
        return unavailable(error).message
    except Exception as error:  # noqa: BLE001 - whatever it is, the check has failed
        return type(error).__name__
    return None
