"""A crowd of devices against the service on Serve: nothing lost, nothing twice, all get through."""

from __future__ import annotations

from pathlib import Path

import pytest

from spinml.config import LoadConfig
from spinml.loadtest.account import compare, executed_twice
from spinml.loadtest.devices import play
from spinml.loadtest.figures import Scale, measure_loaded
from spinml.loadtest.processes import service_processes, wait_for
from spinml.loadtest.site import made_site, served

pytestmark = pytest.mark.ray
DEVICES, RUNS_EACH = 200, 5
MOST_GROWN_MIB = 100


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.mark.timeout(600)
def test_a_crowd_that_is_too_large_gets_through() -> None:
    """30 devices at a service that works on three requests at once and has eight listeners."""
    load = LoadConfig(max_requests=3, max_listeners=8, max_listeners_per_tenant=3)
    with made_site(30, tenants=4, load=load, max_concurrent_runs=8) as site, served(site) as url:
        outcome = play(url, site.accounts, runs_each=1, timeout_s=480)
        books = compare(url, site.accounts, outcome)
        assert books.balanced, books
        assert books.runs == 30
        assert executed_twice(site.database) == 0
        sent_away = outcome.samples.sent_away
        assert sent_away.by_code.get("overloaded", 0) > 0, "the crowd was not too large"
        assert sent_away.without_retry_after == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_runs_of_two_hundred_devices() -> None:
    """Serve adds replicas, and none of its processes grows with what it has done."""
    load = LoadConfig(target_ongoing_requests=20, upscale_delay_s=1)
    with made_site(DEVICES, load=load, max_replicas=3) as site, served(site) as url:
        assert len(service_processes()["ingress replica"]) == 1
        scale = Scale(runs_each=RUNS_EACH, timeout_s=3000)
        loaded = measure_loaded(site, url, scale)
        wait_for(lambda: len(service_processes()["ingress replica"]) > 1, 60, "another replica")
        assert loaded.books.balanced, loaded.books
        assert loaded.books.runs == DEVICES * RUNS_EACH
        assert loaded.outcome.samples.sent_away.without_retry_after == 0
        for name, after in loaded.after.items():
            grown = after.uss_mib - loaded.before[name].uss_mib
            assert grown <= MOST_GROWN_MIB, f"{name} has {after}, {loaded.before[name]} before"
