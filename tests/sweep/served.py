"""A service in this process, on a socket, whose stages make small true artifacts at once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from pydantic import SecretStr

from spinml.config import ServerConfig, ServiceConfig
from spinml.device.client import Client
from spinml.distributed.caches import evict_here
from spinml.pipeline.stages import Stage, StageContext
from spinml.service.app import create_app
from spinml.service.dispatcher import Dispatcher
from spinml.service.keys import create_key, create_tenant
from spinml.service.state import ServiceState
from spinml.sweep.results import TrialRow
from spinml.sweep.spec import SweepSpec
from spinml.tradeoffs.host import SweepHost
from spinml.tradeoffs.run import set_up
from spinml.tradeoffs.service_sweep import ServiceAccess
from spinml.tradeoffs.submitting import submit_grid
from tests.service.executors import QuickExecutor
from tests.sweep.conftest import make_config
from tests.sweep.fakes import JOURNAL, OPERATIONS, run


class SweepExecutor(QuickExecutor):
    """Counts what each tenant had executed, by kind."""

    def __init__(self, state: ServiceState) -> None:
        super().__init__(state.store)
        self.by_tenant: dict[str, Counter[str]] = {}
        self._config = state.config

    def make(self, stage: Stage, tenant: str, out: Path) -> dict[str, Any]:
        self.by_tenant.setdefault(tenant, Counter())[stage.kind.value] += 1
        return run(StageContext(stage, {}, out, self._config)) | {"seconds": 0.5}


@dataclass
class Served:
    """Where it answers, and what each tenant needs to ask it."""

    url: str
    executor: SweepExecutor
    keys: dict[str, str]
    folder: Path
    accesses: dict[str, ServiceAccess] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for tenant, key in self.keys.items():
            path = self.folder / f"{tenant}.key"
            path.write_text(key)
            self.accesses[tenant] = ServiceAccess(self.url, path)

    def client(self, tenant: str) -> Client:
        return Client(self.url, self.keys[tenant])

    def driver(
        self, tenant: str, spec: SweepSpec, out: Path, attach: str | None = None
    ) -> SweepHost:
        """What a driver does before Tune: it has submitted, and can follow."""
        config = make_config(self.folder)
        setup = set_up(spec, config, out, OPERATIONS, self.accesses[tenant], attach)
        submit_grid(setup)
        return SweepHost(setup)


def evaluate_all(host: SweepHost) -> Sequence[TrialRow]:
    """All trials of a grid at once, as Tune has them evaluated; the finished ones."""
    places = range(len(host.setup.trials))
    with ThreadPoolExecutor(len(places)) as pool:
        list(pool.map(lambda at: host.evaluate({"trial": at}), places))
    host.close()
    found = (host.results.finished(trial.id) for trial in host.setup.trials)
    return [row for row in found if row is not None]


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """The service with the tenants anna and bert; one run at a time."""
    store = make_config(folder).store.model_copy(
        update={"database": SecretStr(f"sqlite:///{folder}/spinml.db")}
    )
    config = ServerConfig(store=store, service=ServiceConfig(port=0))
    state = ServiceState.from_config(config)
    keys = {}
    for tenant in ("anna", "bert"):
        create_tenant(state.database, tenant)
        keys[tenant] = create_key(state.database, tenant)
    executor = SweepExecutor(state)
    dispatcher = Dispatcher(state.database, state.store, executor, evict_here, poll_s=0.05)
    server = uvicorn.Server(uvicorn.Config(create_app(state), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    dispatcher.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(f"http://127.0.0.1:{port}", executor, keys, folder)
    finally:
        dispatcher.stop()
        server.should_exit = True
        thread.join(30)
        state.database.close()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The service for a test; import it where it is wanted."""
    folder = tmp_path / "served"
    (folder / "journal").mkdir(parents=True)
    monkeypatch.setenv(JOURNAL, str(folder / "journal"))
    with serving(folder) as service:
        yield service
