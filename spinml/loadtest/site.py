"""A service of this machine for a load test: a folder with all data, tenants, a key a device."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from spinml.config import (
    LoadConfig,
    LogConfig,
    RateConfig,
    ServerConfig,
    ServiceConfig,
    StoreConfig,
)
from spinml.loadtest.devices import Account
from spinml.loadtest.executor import IN_PROCESS, STAGE_S
from spinml.pipeline.cache import CACHE_ENV
from spinml.service.database import Database
from spinml.service.keys import create_key, create_tenant
from spinml.service.launch import running_service

TENANTS = 8
USUAL_LOAD = LoadConfig()
NO_RATES = RateConfig(requests_per_minute=None, submissions_per_minute=None)
"""A simulated device asks as often as it can: rates would be all that is measured."""


@dataclass(frozen=True)
class Site:
    """What a service works with, and who may ask it."""

    folder: Path
    config: ServerConfig
    database: Database
    accounts: Sequence[Account]
    """One a device; the tenants take turns."""


@contextmanager
def made_site(
    devices: int,
    *,
    tenants: int = TENANTS,
    load: LoadConfig = USUAL_LOAD,
    rates: RateConfig = NO_RATES,
    max_replicas: int = 1,
    max_concurrent_runs: int = 20,
    stage_s: float = 0.0,
    database_url: str | None = None,
) -> Iterator[Site]:
    """Make the tables, the tenants and a key for each device.

    Args:
        max_replicas: of the ingress; where speeds are compared, one.
        stage_s: the longest stage, in the environment of what is started meanwhile.
        database_url: None makes an SQLite file.
    """
    with tempfile.TemporaryDirectory(prefix="spinml-load-") as name:
        folder = Path(name)
        url = database_url or f"sqlite:///{folder}/spinml.db"
        url_file = folder / "database-url"
        url_file.write_text(url)
        config = ServerConfig(
            store=StoreConfig(artifacts=f"file://{folder}/store", database_file=url_file),
            service=ServiceConfig(
                port=0,
                max_replicas=max_replicas,
                max_concurrent_runs=max_concurrent_runs,
                load=load,
                rates=rates,
            ),
            logs=LogConfig(level="WARNING"),
        )
        with _environment({STAGE_S: str(stage_s), CACHE_ENV: str(folder / "cache")}):
            database = Database(url)
            try:
                database.create()
                names = [f"tenant-{number}" for number in range(tenants)]
                for tenant in names:
                    create_tenant(database, tenant)
                accounts = [
                    Account(tenant, create_key(database, tenant))
                    for tenant in (names[n % tenants] for n in range(devices))
                ]
                yield Site(folder, config, database, accounts)
            finally:
                database.close()


@contextmanager
def served(site: Site, execute: str = IN_PROCESS, num_cpus: int = 2) -> Iterator[str]:
    """The site's service on Ray Serve; its URL. Everything of it is a descendant of this process.

    Args:
        execute: import path of what stands at the executor's boundary.
    """
    with running_service(
        site.config,
        num_cpus=num_cpus,
        num_gpus=0,
        execute=execute,
        key_path=site.folder / "key",
    ) as service:
        yield service.url


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
