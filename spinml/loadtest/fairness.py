"""Who waits how long: two tenants at one queue, carried out by a dispatcher of this process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import select, update

from spinml.distributed.caches import evict_here
from spinml.loadtest.bundles import bundle_of
from spinml.loadtest.executor import InProcess, idle
from spinml.loadtest.processes import wait_for
from spinml.loadtest.servers import bare_uvicorn
from spinml.loadtest.site import Site, made_site
from spinml.device.client import Client
from spinml.service.database import Database
from spinml.service.dispatcher import Dispatcher
from spinml.service.models import Run, RunState, Tenant
from spinml.service.state import open_database, open_store

_TIMEOUT_S = 600.0
_SLOTS = 2
_STAGE_S = 0.1


@dataclass(frozen=True)
class Share:
    """How one of two tenants fared."""

    weight: float
    runs: int
    median_wait_s: float
    longest_wait_s: float
    share_of_first_half: float
    """Of the runs that began first, half of all."""


def measure_shares(weights: tuple[float, float], runs: tuple[int, int]) -> tuple[Share, Share]:
    """Let the first tenant submit all its runs, then the second; ``_SLOTS`` are executed at once.

    A dispatcher looks for runs every half a second; a run takes about 0.3 s.
    """
    with made_site(2, tenants=2, stage_s=_STAGE_S) as site:
        with site.database.write() as session:
            for account, weight in zip(site.accounts, weights, strict=True):
                session.execute(
                    update(Tenant).where(Tenant.id == account.tenant).values(weight=weight)
                )
        _submit(site, runs)
        with _dispatching(site):
            wait_for(lambda: _over(site.database, sum(runs)), _TIMEOUT_S, "the last run")
        return _shares(site, weights)


def _submit(site: Site, runs: tuple[int, int]) -> None:
    with bare_uvicorn(site) as url:
        for number, (account, count) in enumerate(zip(site.accounts, runs, strict=True)):
            with Client(url, account.key) as client:
                for n in range(count):
                    bundle = bundle_of(2 * (1000 * number + n))
                    client.submit(bundle, idempotency_key=f"fair-{n}")


@contextmanager
def _dispatching(site: Site) -> Iterator[None]:
    store = open_store(site.config)
    dispatcher = Dispatcher(
        open_database(site.config),
        store,
        InProcess(site.config, store, idle),
        evict_here,
        max_concurrent_runs=_SLOTS,
        poll_s=0.1,
    )
    dispatcher.start()
    try:
        yield
    finally:
        dispatcher.stop()


def _over(database: Database, count: int) -> bool:
    query = select(Run.id).where(Run.state == RunState.SUCCEEDED)
    with database.read() as session:
        return len(session.scalars(query).all()) == count


def _shares(site: Site, weights: tuple[float, float]) -> tuple[Share, Share]:
    with site.database.read() as session:
        rows = session.execute(select(Run.tenant_id, Run.claimed_at).order_by(Run.claimed_at)).all()
    opened = min(at for _, at in rows if at is not None)
    half = [tenant for tenant, _ in rows[: len(rows) // 2]]
    first, second = (
        Share(
            weight,
            len(waits),
            statistics.median(waits),
            max(waits),
            half.count(account.tenant) / len(half),
        )
        for weight, account in zip(weights, site.accounts, strict=True)
        for waits in [
            [(at - opened).total_seconds() for tenant, at in rows if tenant == account.tenant and at]
        ]
    )
    return first, second
