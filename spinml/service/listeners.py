"""Who waits for a run to change: event streams and long polls, without a thread for any of them.

One question to the database, a few times a second, answers for all listeners of a process: whether
there are two or a thousand, an idle one costs next to nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TypeVar
from uuid import UUID

from anyio import CapacityLimiter, to_thread

from spinml.config import LoadConfig
from spinml.errors import OverloadedError
from spinml.service.database import Database
from spinml.service.places import TenantPlaces
from spinml.service.versions import versions

LOOK_EVERY_S = 0.25
_THREADS = 4
"""For what listeners read: apart from the requests' threads, so that a thousand listeners whose
runs change at once do not keep anybody else from being answered."""

Versions = Callable[[frozenset[UUID]], Mapping[UUID, int]]
Result = TypeVar("Result")


class Listeners:
    """The listeners of one process, on one event loop."""

    def __init__(
        self, ask: Versions, *, most: int, most_per_tenant: int, every_s: float = LOOK_EVERY_S
    ) -> None:
        """
        Args:
            ask: gives the numbers of the runs' last events; a run that is gone has none.
            most, most_per_tenant: how many may listen at once.
        """
        self._ask = ask
        self._most = most
        self._every_s = every_s
        self._places = TenantPlaces(
            most_per_tenant,
            what="listeners of yours are here",
            setting="max_listeners_per_tenant",
            remedy="end some, or poll without wait",
        )
        self._waiting: dict[asyncio.Future[None], tuple[UUID, int]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._threads = CapacityLimiter(_THREADS)

    @classmethod
    def of(cls, database: Database, load: LoadConfig) -> Listeners:
        """The listeners of a service."""
        return cls(
            partial(versions, database),
            most=load.max_listeners,
            most_per_tenant=load.max_listeners_per_tenant,
        )

    @property
    def count(self) -> int:
        """How many listen just now."""
        return self._places.count

    @contextmanager
    def place(self, tenant: str) -> Iterator[None]:
        """Listen as ``tenant``.

        Raises:
            OverloadedError: as many as may listen do.
            RateLimitedError: as many of this tenant's.
        """
        if self.count >= self._most:
            raise OverloadedError(
                f"{self._most} listeners are here, no more are taken at once",
                remedy="try again after Retry-After, or poll without wait",
                details={"max_listeners": self._most},
            )
        with self._places.place(tenant):
            yield

    async def changed(self, run_id: UUID, seen: int, timeout_s: float | None = None) -> bool:
        """Wait until the run has an event behind number ``seen``, or is gone.

        Returns:
            False: ``timeout_s`` passed before.

        Raises:
            SQLAlchemyError: the database went away meanwhile.
        """
        news = asyncio.get_running_loop().create_future()
        self._waiting[news] = run_id, seen
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="listeners")
        try:
            async with asyncio.timeout(timeout_s):
                await news
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(news, None)
        return True

    async def read(self, function: Callable[[], Result]) -> Result:
        """Call what reads the database, in a thread of the listeners'."""
        return await to_thread.run_sync(function, limiter=self._threads)

    async def _look(self) -> None:
        """Ask for all, as long as somebody waits."""
        while self._waiting:
            asked = frozenset(run_id for run_id, _ in self._waiting.values())
            try:
                found = await self.read(partial(self._ask, asked))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the listeners'
                for news in self._waiting:
                    if not news.done():
                        news.set_exception(error)
            else:
                for news, (run_id, seen) in self._waiting.items():
                    is_new = run_id in asked and found.get(run_id, seen + 1) > seen
                    if is_new and not news.done():
                        news.set_result(None)
            await asyncio.sleep(self._every_s)
