"""What must hold when the load is over, read from the database, the store and the stages' log."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from sqlalchemy import select

from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.stages import ArtifactKey, StageKind
from spinml.service.database import Database
from spinml.service.ledger import Charge
from spinml.service.models import Event, Run, RunStage, RunState, StageState
from spinml.service.plans import plan_from_json
from tests.chaos.kills import Outage
from tests.chaos.load import RUNS_EACH, TENANTS, Device
from tests.chaos.stages import Execution, executions

PUBLISH_S = 3.0
"""How long after its stage's end an artifact may still be on its way into the store."""


def hold(
    database: Database,
    store: ArtifactStore,
    log: Path,
    devices: Sequence[Device],
    outages: Sequence[Outage],
) -> int:
    """Check all that must hold when the load is over; how many stages were done again."""
    executed = executions(log)
    check_ends(devices)
    check_runs(database, [device.tenant for device in devices])
    check_store(database, store)
    check_charges(database, executed)
    keys = [key for device in devices for key in store.list_keys(device.tenant)]
    return check_executions(executed, outages, keys)


def check_ends(devices: Iterable[Device]) -> None:
    """Every run succeeded, but those whose dataset cannot be drawn, which say so."""
    for device in devices:
        assert device.error is None, device.error
        assert len(device.ended) == RUNS_EACH, f"{device.tenant}: {device.ended}"
        for n, status in device.ended.items():
            broken = n == RUNS_EACH - 1
            told = (status.state, (status.error or {}).get("code"))
            wanted = ("failed", "generation_failed") if broken else ("succeeded", None)
            assert told == wanted, f"{device.tenant} {n}: {status.error}"


def check_runs(database: Database, tenants: Iterable[str]) -> None:
    """One run for each bundle, all over and without lease, their events without a gap."""
    with database.read() as session:
        runs = session.scalars(select(Run)).all()
        assert Counter(run.tenant_id for run in runs) == dict.fromkeys(tenants, RUNS_EACH)
        for run in runs:
            assert RunState(run.state).final
            assert run.lease_owner is None
            events = session.scalars(
                select(Event).where(Event.run_id == run.id).order_by(Event.seq)
            ).all()
            assert [event.seq for event in events] == list(range(1, run.last_event + 1))
            ends = [e for e in events if e.kind == "state" and RunState(e.data["state"]).final]
            assert len(ends) == 1


def check_store(database: Database, store: ArtifactStore) -> None:
    """What is visible is whole, and all that a run that succeeded promises is there."""
    with tempfile.TemporaryDirectory() as folder:
        for tenant in TENANTS:
            for key in store.list_keys(tenant):
                store.fetch(key, Path(folder) / key.path)
    with database.read() as session:
        runs = session.scalars(select(Run).where(Run.state == RunState.SUCCEEDED)).all()
    for run in runs:
        plan = plan_from_json(run.plan)
        for digest in plan.results.values():
            assert store.exists(plan.stages[digest].key(run.tenant_id))


def check_charges(database: Database, log: dict[str, list[Execution]]) -> None:
    """What was executed is charged, and each execution, and each image, to one run alone."""
    with database.read() as session:
        charges = session.scalars(select(Charge)).all()
        stages = {(s.run_id, s.digest): s for s in session.scalars(select(RunStage))}
    by_digest: dict[tuple[str, str], list[Charge]] = defaultdict(list)
    for charge in charges:
        by_digest[charge.tenant_id, charge.digest].append(charge)
    for (_, digest), paid in by_digest.items():
        drawn = {s.images for s in stages.values() if s.digest == digest}
        assert sum(charge.images for charge in paid) in (0, *drawn)
        assert sum(charge.gpu_seconds > 0 for charge in paid) <= len(log[digest])
    for (run_id, digest), stage in stages.items():
        if stage.state == StageState.DONE and stage.kind != StageKind.SEGMENT:
            assert [c for c in charges if (c.run_id, c.digest) == (run_id, digest)]


def check_executions(
    log: dict[str, list[Execution]], outages: Sequence[Outage], keys: Iterable[ArtifactKey]
) -> int:
    """Every artifact was made once, but for what was under way at a kill; how many times more."""
    again = 0
    for key in keys:
        if key.kind is not StageKind.SEGMENT:
            assert log[key.digest]
    for executed in log.values():
        for before, after in pairwise(executed):
            again += 1
            last = (before.ended or after.began) + PUBLISH_S
            hit = [o.what for o in outages if o.began <= last and o.ended >= before.began]
            assert hit, f"executed again without need: {before}, {after}"
            assert before.ended is None or before.ended <= after.began, "two at once"
    return again
