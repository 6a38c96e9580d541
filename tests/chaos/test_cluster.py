"""On Ray: workers, dispatcher, ingress, the head, the database and the S3 server die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import httpx
import psutil
import pytest

from spinml.service.launch import EXIT_SILENT
from tests.chaos import servers, stages
from tests.chaos.conftest import Site
from tests.chaos.invariants import hold
from tests.chaos.kills import carry_out, draw
from tests.chaos.load import finish, start_devices
from tests.chaos.stages import executions

TIMEOUT_S = 2400.0
"""On an idle machine a tenth of it is enough; Ray starts in minutes where others work."""


class Cluster:
    """``spinml serve`` with stages of no work, and the processes below it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.service = servers.python(
            "service", "tests.chaos.service", site.folder, str(site.config_file)
        )

    def start(self) -> None:
        self.service.start()
        servers.wait_for(self._serves, TIMEOUT_S / 3, "the service")

    def _serves(self) -> bool:
        assert self.service.exit_code() is None, self.service.log.read_text()[-2000:]
        try:
            return httpx.get(f"{self._site.url}/healthz", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def kill_worker(self) -> None:
        """One that executes a stage just now."""
        servers.wait_for(self._kill_one, TIMEOUT_S / 4, "an execution")

    def _kill_one(self) -> bool:
        for executed in executions(self._site.log).values():
            if executed[-1].ended is None and psutil.pid_exists(executed[-1].pid):
                os.kill(executed[-1].pid, signal.SIGKILL)
                return True
        return False

    def kill_replica(self, deployment: str) -> None:
        servers.wait_for(
            lambda: self._kill(f"ray::ServeReplica:spinml:{deployment}"), TIMEOUT_S / 4, deployment
        )

    def kill_head(self) -> None:
        """And wait: the service's process must see by itself that it serves no longer."""
        assert self._kill("gcs_server")
        assert self._kill("raylet")
        servers.wait_for(lambda: self.service.exit_code() is not None, 300, "the service's end")
        assert self.service.exit_code() in (1, EXIT_SILENT)
        self.service.kill()

    def _kill(self, name: str) -> bool:
        found = False
        for process in psutil.Process(self.service.pid).children(recursive=True):
            try:
                title = process.cmdline()[0] if process.cmdline() else ""
                if title.startswith(name) or process.name() == name:
                    process.kill()
                    found = True
            except psutil.NoSuchProcess:
                continue
        return found


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(TIMEOUT_S)
def test_everything_dies(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(stages.LONGEST_S, "1.0")
    cluster = Cluster(site)
    kill: dict[str, Callable[[], None]] = {
        "worker": cluster.kill_worker,
        "dispatcher": lambda: cluster.kill_replica("dispatcher"),
        "ingress": lambda: cluster.kill_replica("ingress"),
        "head": cluster.kill_head,
        "database": site.database_server.kill,
        "store": site.store_server.kill,
    }
    start: dict[str, Callable[[], None]] = dict.fromkeys(kill, _ray_does_it) | {
        "head": cluster.start,
        "database": site.database_server.start,
        "store": site.store_server.start,
    }
    plan = draw(4, [*kill, "worker"], first=3, last=60, longest_s=3.0)
    try:
        cluster.start()
        began = time.monotonic()
        devices = start_devices(site.url, site.keys, TIMEOUT_S)
        outages = carry_out(plan, site.log, kill, start, TIMEOUT_S)
        finish(devices)
        print(f"{len(plan)} kills, {time.monotonic() - began:.0f} s in all")  # noqa: T201
    finally:
        site.stop(cluster.service)
    again = hold(site.database, site.store(), site.log, devices, outages)
    assert again <= 4 * len(plan), "at most what can be in flight"


def _ray_does_it() -> None:
    """Workers and replicas are started anew by Ray and Serve."""
