"""How long the service is not itself after a part of it was killed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import httpx

from spinml.device.client import Client
from spinml.errors import MissingExtraError
from spinml.loadtest import processes
from spinml.loadtest.bundles import bundle_of
from spinml.loadtest.executor import ON_RAY
from spinml.loadtest.processes import wait_for
from spinml.loadtest.servers import Server, postgresql
from spinml.loadtest.site import Site, made_site, served
from spinml.service.versions import version

STAGE_S = 4.0
ATTEMPTS = 40
_TIMEOUT_S = 240.0
_ASK_TIMEOUT_S = 5.0
IsBack = Callable[[], bool]


@dataclass(frozen=True)
class Recoveries:
    """What was killed → seconds until it was itself again, and what became of the runs."""

    database: str
    """Which one it was."""
    seconds: Mapping[str, float]
    lost: int
    """Runs under way at a kill that did not succeed."""


def measure_recoveries() -> Recoveries:
    """Kill each part once, each time with a run under way on Ray.

    A worker is back when another executes a stage, the dispatcher when the run under way has news,
    whoever answers when a question with a key is answered again.
    """
    with _database() as database:
        url = None if database is None else database[1]
        with (
            made_site(
                1, tenants=1, max_concurrent_runs=2, stage_s=STAGE_S, database_url=url
            ) as site,
            served(site, ON_RAY) as service,
        ):
            killer = _Killer(site, service)
            seconds = {
                "Ray worker": killer.measure(killer.kill_worker),
                "dispatcher": killer.measure(killer.kill_dispatcher),
                "ingress replica": killer.measure(lambda: killer.kill("ingress replica")),
                "proxy": killer.measure(lambda: killer.kill("proxy")),
            }
            if database is not None:
                server = database[0]
                seconds["database"] = killer.measure(lambda: killer.restart(server))
            lost = killer.count_lost()
    return Recoveries("SQLite" if database is None else "PostgreSQL", seconds, lost)


@contextmanager
def _database() -> Iterator[tuple[Server, str] | None]:
    """A PostgreSQL and its URL, where one is installed."""
    with tempfile.TemporaryDirectory(prefix="spinml-load-pg-") as name:
        Path(name).chmod(0o755)  # as root, PostgreSQL runs as another user
        try:
            server, url = postgresql(Path(name))
        except MissingExtraError:
            yield None
            return
        try:
            server.start()
            yield server, url
        finally:
            server.kill()


class _Killer:
    """Submits a run, kills something, and looks when all is as it should be."""

    def __init__(self, site: Site, url: str) -> None:
        self._site, self._url = site, url
        self._account = site.accounts[0]
        self._runs: list[str] = []

    def measure(self, kill: Callable[[], IsBack]) -> float:
        """Seconds until what ``kill`` gives came true."""
        with self._client() as client:
            seed = 2 * len(self._runs)
            run = client.submit(bundle_of(seed), idempotency_key=f"recovery-{seed}")
        self._runs.append(run.id)
        wait_for(lambda: bool(processes.workers()), _TIMEOUT_S, "a stage")
        return wait_for(kill(), _TIMEOUT_S, "recovery")

    def kill_worker(self) -> IsBack:
        killed = processes.kill_worker()
        return lambda: bool(processes.workers() - {killed})

    def kill_dispatcher(self) -> IsBack:
        processes.kill("dispatcher")
        before = self._version()
        return lambda: self._version() > before

    def kill(self, name: str) -> IsBack:
        processes.kill(name)
        return self._answers

    def restart(self, server: Server) -> IsBack:
        server.kill()
        server.start()
        return self._answers

    def count_lost(self) -> int:
        """Wait for the end of all runs; how many did not succeed."""
        with self._client() as client:
            return sum(client.wait(run).state != "succeeded" for run in self._runs)

    def _client(self) -> Client:
        return Client(self._url, self._account.key, attempts=ATTEMPTS)

    def _version(self) -> int:
        return version(self._site.database, self._account.tenant, UUID(self._runs[-1]))

    def _answers(self) -> bool:
        headers = {"Authorization": f"Bearer {self._account.key}"}
        url = f"{self._url}/v1/runs/{self._runs[-1]}"
        try:
            return httpx.get(url, headers=headers, timeout=_ASK_TIMEOUT_S).is_success
        except httpx.HTTPError:
            return False
