"""Whose run is next: simulated durations on the real tables."""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

from spinml.pipeline.artifacts import ArtifactStore
from spinml.service.database import Database
from spinml.service.leases import claim_run, finish_run
from spinml.service.models import RunState, now
from spinml.service.quotas import set_quotas
from tests.service.submissions import submit_to

LEASE_S = 1e9


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.from_url(f"file://{tmp_path}/store")


class Arrival(NamedTuple):
    """``runs`` runs of ``seconds`` each, submitted at ``at_s``."""

    at_s: float
    tenant: str
    runs: int
    seconds: float


class Begun(NamedTuple):
    at_s: float
    tenant: str


class Cluster:
    """A clock that jumps from event to event, and slots that the real queue fills."""

    def __init__(self, database: Database, store: ArtifactStore, slots: int = 1) -> None:
        self.database, self.store, self.free = database, store, slots
        self.begun: list[Begun] = []
        self.events: list[tuple[float, int, Arrival | UUID]] = []
        self.seconds: dict[str, float] = {}
        self.zero = now()

    def run(self, arrivals: list[Arrival], until_s: float = 1e9) -> list[Begun]:
        for arrival in arrivals:
            self._put(arrival.at_s, arrival)
            self.seconds[arrival.tenant] = arrival.seconds
        while self.events and self.events[0][0] <= until_s:
            at_s, number, what = heapq.heappop(self.events)
            if isinstance(what, Arrival):
                for n in range(what.runs):
                    submit_to(self.database, self.store, what.tenant, f"{number}-{n}")
            else:
                finish_run(self.database, "owner", what, RunState.SUCCEEDED, at=self._at(at_s))
                self.free += 1
            if not self.events or self.events[0][0] > at_s:  # all that happened at once is done
                self._fill(at_s)
        return self.begun

    def _fill(self, at_s: float) -> None:
        while self.free:
            claim = claim_run(self.database, "owner", LEASE_S, self._at(at_s))
            if claim is None:
                return
            self.free -= 1
            self.begun.append(Begun(at_s, claim.tenant))
            self._put(at_s + self.seconds[claim.tenant], claim.run_id)

    def _put(self, at_s: float, what: Arrival | UUID) -> None:
        heapq.heappush(self.events, (at_s, len(self.events) + 1000 * len(self.begun), what))

    def _at(self, at_s: float) -> datetime:
        return self.zero + timedelta(seconds=at_s)


def shares(begun: list[Begun]) -> dict[str, int]:
    return {tenant: sum(b.tenant == tenant for b in begun) for tenant in ("anna", "bert")}


def test_a_sweep_of_a_hundred_runs_does_not_starve_a_single_one(
    database: Database, store: ArtifactStore
) -> None:
    begun = Cluster(database, store, slots=2).run(
        [Arrival(0, "anna", 100, seconds=60), Arrival(90, "bert", 1, seconds=60)], until_s=300
    )
    (single,) = [b for b in begun if b.tenant == "bert"]
    assert single.at_s == 120  # the first slot that was free after it came
    assert shares(begun)["anna"] == 11  # and no slot stood empty


@pytest.mark.parametrize("slots", [1, 4])
def test_weights_share_the_cluster(database: Database, store: ArtifactStore, slots: int) -> None:
    set_quotas(database, "bert", weight=3)
    begun = Cluster(database, store, slots).run(
        [Arrival(0, "anna", 20, seconds=60), Arrival(0, "bert", 20, seconds=60)],
        until_s=60 * 16 / slots - 1,
    )
    assert shares(begun) == {"anna": 4, "bert": 12}


def test_long_runs_count_for_what_they_take(database: Database, store: ArtifactStore) -> None:
    begun = Cluster(database, store).run(
        [Arrival(0, "anna", 3, seconds=1000), Arrival(0, "bert", 30, seconds=100)], until_s=3999
    )
    assert shares(begun) == {"anna": 2, "bert": 20}


def test_idle_time_is_no_credit(database: Database, store: ArtifactStore) -> None:
    """Who comes back after a long pause takes turns, and lets nobody wait for all it has."""
    begun = Cluster(database, store).run(
        [
            Arrival(0, "bert", 1, seconds=60),
            Arrival(0, "anna", 40, seconds=60),
            Arrival(1205, "bert", 10, seconds=60),
        ],
        until_s=1805,
    )
    late = shares([b for b in begun if b.at_s > 1205])
    assert late["anna"] in (4, 5, 6)
    assert late["bert"] in (4, 5, 6)


def test_as_many_at_once_as_the_quota_allows(database: Database, store: ArtifactStore) -> None:
    set_quotas(database, "anna", max_concurrent_runs=1)
    begun = Cluster(database, store, slots=3).run(
        [Arrival(0, "anna", 3, seconds=60), Arrival(0, "bert", 1, seconds=60)]
    )
    assert [b.at_s for b in begun if b.tenant == "anna"] == [0, 60, 120]
    assert [b.at_s for b in begun if b.tenant == "bert"] == [0]


def test_priorities_count_inside_a_tenant_alone(database: Database, store: ArtifactStore) -> None:
    middle = submit_to(database, store, "anna", "middle")
    first = submit_to(database, store, "anna", "first", priority=5)
    last = submit_to(database, store, "anna", "last", priority=-5)
    other = submit_to(database, store, "bert", "other")
    claims = [claim_run(database, "owner", LEASE_S) for _ in range(5)]
    claimed = [claim.run_id for claim in claims if claim is not None]
    assert claimed == [first.id, other.id, middle.id, last.id]
