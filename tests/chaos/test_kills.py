"""The dispatcher, the database and the S3 server die while 20 runs of 4 tenants are in flight."""

from __future__ import annotations

import pytest

from spinml.config import load_config
from spinml.pipeline.artifacts import ArtifactStore
from spinml.service.state import open_store
from tests.chaos import invariants
from tests.chaos.conftest import Site
from tests.chaos.faulty import Faults
from tests.chaos.kills import Outage, carry_out, draw
from tests.chaos.load import TENANTS, Device, start_devices
from tests.chaos.servers import Server
from tests.chaos.stages import executions


def finish(devices: list[Device]) -> None:
    for device in devices:
        device.thread.join(device.timeout_s)


def hold(site: Site, devices: list[Device], outages: list[Outage]) -> int:
    """Check all that must hold when the load is over; how many stages were done again."""
    store: ArtifactStore = open_store(load_config(site.config_file))
    log = executions(site.log)
    invariants.check_ends(devices)
    invariants.check_runs(site.database)
    invariants.check_store(site.database, store)
    invariants.check_charges(site.database, log)
    keys = [key for tenant in TENANTS for key in store.list_keys(tenant)]
    return invariants.check_executions(log, outages, keys)


@pytest.mark.usefixtures("ingress")
def test_dispatcher_database_and_store_die(site: Site) -> None:
    dispatcher = site.dispatcher()
    parts: dict[str, Server] = {
        "dispatcher": dispatcher,
        "database": site.database_server,
        "store": site.store_server,
    }
    plan = draw(4, [*parts, *parts], first=3, last=60, longest_s=1.0)
    dispatcher.start()
    try:
        devices = start_devices(site.url, site.keys, timeout_s=120)
        outages = carry_out(
            plan,
            site.log,
            kill={name: server.kill for name, server in parts.items()},
            start={name: server.start for name, server in parts.items()},
            timeout_s=120,
        )
        finish(devices)
        dispatcher.kill()  # so that nothing is erased while it is looked at
        again = hold(site, devices, outages)
        assert again <= 4 * len(plan), "at most what can be in flight"
    finally:
        dispatcher.kill()


@pytest.mark.usefixtures("ingress")
def test_a_store_that_answers_slowly_500_or_half(site: Site) -> None:
    """Every fifth request fails: nothing shows, and no stage is done twice."""
    dispatcher = site.dispatcher()
    site.proxy.faults = Faults(errors=0.1, broken=0.05, slow=0.05, slow_s=0.3)
    dispatcher.start()
    try:
        devices = start_devices(site.url, site.keys, timeout_s=120)
        finish(devices)
        dispatcher.kill()
        site.proxy.faults = Faults()
        assert site.proxy.injected > 50
        assert hold(site, devices, []) == 0
    finally:
        dispatcher.kill()
