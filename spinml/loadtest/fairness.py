"""Who waits how long: two tenants at one queue, carried out by a dispatcher of this process."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select, update

from spinml.device.client import Client
from spinml.distributed.caches import evict_here
from spinml.loadtest.bundles import bundle_of
from spinml.loadtest.devices import Account
from spinml.loadtest.executor import InProcess, idle
from spinml.loadtest.processes import wait_for
from spinml.loadtest.servers import bare_uvicorn
from spinml.loadtest.site import Site, made_site
from spinml.service.dispatcher import Dispatcher
from spinml.service.models import Run, RunState, Tenant
from spinml.service.state import open_database, open_store

_TIMEOUT_S = 600.0
_SLOTS = 4
"""Slots are shared by weight: 3 and 1 can be seen."""
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


def measure_shares(
    weights: tuple[float, float], runs: tuple[int, int], *, later: bool = False
) -> tuple[Share, Share]:
    """Let two tenants submit their runs, and ``_SLOTS`` of them be executed at once.

    Args:
        later: the second tenant submits when a tenth of the first one's runs have begun; else both
            have submitted before any begins.
    """
    with made_site(2, tenants=2, stage_s=_STAGE_S) as site, bare_uvicorn(site) as url:
        with site.database.write() as session:
            for account, weight in zip(site.accounts, weights, strict=True):
                session.execute(
                    update(Tenant).where(Tenant.id == account.tenant).values(weight=weight)
                )
        _submit(url, site.accounts[0], range(runs[0]))
        second = range(runs[0], sum(runs))
        if not later:
            _submit(url, site.accounts[1], second)
        with _dispatching(site):
            if later:
                wait_for(lambda: _begun(site) >= runs[0] / 10, _TIMEOUT_S, "a tenth of the runs")
                _submit(url, site.accounts[1], second)
            wait_for(lambda: _over(site) == sum(runs), _TIMEOUT_S, "the last run")
        return _shares(site, weights)


def _submit(url: str, account: Account, numbers: range) -> None:
    with Client(url, account.key) as client:
        for number in numbers:
            client.submit(bundle_of(2 * number), idempotency_key=f"fair-{number}")


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


def _begun(site: Site) -> int:
    return _count(site, Run.claimed_at.is_not(None))


def _over(site: Site) -> int:
    return _count(site, Run.state == RunState.SUCCEEDED)


def _count(site: Site, those: ColumnElement[bool]) -> int:
    with site.database.read() as session:
        return len(session.scalars(select(Run.id).where(those)).all())


def _shares(site: Site, weights: tuple[float, float]) -> tuple[Share, Share]:
    """Waits count from the submission, or from when the first run of all began."""
    with site.database.read() as session:
        runs = session.scalars(select(Run).order_by(Run.claimed_at)).all()
    began = [(run, run.claimed_at) for run in runs if run.claimed_at is not None]
    opened = began[0][1]
    half = [run.tenant_id for run, _ in began[: len(began) // 2]]

    def share(tenant: str, weight: float) -> Share:
        waits = [
            (at - max(run.created_at, opened)).total_seconds()
            for run, at in began
            if run.tenant_id == tenant
        ]
        part = half.count(tenant) / len(half)
        return Share(weight, len(waits), statistics.median(waits), max(waits), part)

    first, second = (
        share(account.tenant, weight)
        for account, weight in zip(site.accounts, weights, strict=True)
    )
    return first, second
