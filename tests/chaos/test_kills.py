"""The dispatcher, the database and the S3 server die while 20 runs of 4 tenants are in flight."""

from __future__ import annotations

import pytest

from tests.chaos.conftest import Site
from tests.chaos.faulty import Faults
from tests.chaos.invariants import hold
from tests.chaos.kills import carry_out, draw
from tests.chaos.load import finish, start_devices
from tests.chaos.servers import Server


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
        devices = start_devices(site.url, site.keys, timeout_s=240)
        outages = carry_out(
            plan,
            site.log,
            kill={name: server.kill for name, server in parts.items()},
            start={name: server.start for name, server in parts.items()},
            timeout_s=240,
        )
        finish(devices)
        site.stop(dispatcher)
        again = hold(site.database, site.store(), site.log, devices, outages)
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
        devices = start_devices(site.url, site.keys, 240, tenants=("anna", "bert"))
        finish(devices)
        site.stop(dispatcher)
        assert site.proxy.injected > 50
        assert hold(site.database, site.store(), site.log, devices, []) == 0
    finally:
        dispatcher.kill()
