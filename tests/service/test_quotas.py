"""Quotas: what is refused at submission, what waits, and what is charged."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from spinml.config import Resources, ServerConfig
from spinml.distributed.caches import evict_here
from spinml.errors import InvalidRequestError, NotFoundError, QuotaSpentError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.stages import StageKind
from spinml.service.database import Database
from spinml.service.erasure import delete_run, erase
from spinml.service.leases import Claim, claim_run, finish_run, release_run, report_stage
from spinml.service.ledger import Charge
from spinml.service.locks import lock_tenant
from spinml.service.models import Run, RunState, StageState, now
from spinml.service.plans import plan_from_json
from spinml.service.quotas import PERIOD, set_quotas, usage
from spinml.service.runs import get_run
from spinml.service.state import ServiceState
from spinml.service.submit import submit
from tests.service import bundles
from tests.service.conftest import Headers
from tests.service.executors import QuickExecutor, Report
from tests.service.submissions import submit_to
from tests.service.test_submit import refuses, send

GPUS = {StageKind.FINETUNE: 1.0, StageKind.GENERATE: 2.0}


def gpus(kind: StageKind) -> float:
    return GPUS.get(kind, 0.0)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.from_url(f"file://{tmp_path}/store")


def claim(database: Database, owner: str = "first") -> Claim:
    found = claim_run(database, owner, 60)
    assert found is not None
    return found


def tell(
    database: Database,
    found: Claim,
    kind: StageKind,
    state: StageState,
    seconds: float,
    owner: str = "first",
) -> None:
    (digest,) = [stage.digest for stage in plan_from_json(found.plan) if stage.kind is kind]
    report = Report(digest, state, seconds=seconds)
    report_stage(database, owner, found.run_id, report, state)


def used(database: Database) -> float:
    return usage(database, "anna").gpu_seconds


def test_seconds_times_gpus_of_what_was_executed(database: Database, store: ArtifactStore) -> None:
    submit_to(database, store, gpus=gpus, images_per_class=4)
    found = claim(database)
    tell(database, found, StageKind.FINETUNE, StageState.RUNNING, 5)
    assert used(database) == 0
    tell(database, found, StageKind.FINETUNE, StageState.DONE, 10)
    assert used(database) == 10
    tell(database, found, StageKind.GENERATE, StageState.DONE, 30)
    tell(database, found, StageKind.TRAIN, StageState.DONE, 100)
    finish_run(database, "first", found.run_id, RunState.SUCCEEDED)
    assert (used(database), usage(database, "anna").images) == (70, 8)
    assert used(database) == sum(_charges(database))
    assert usage(database, "bert").gpu_seconds == 0


def test_a_stage_that_was_reused_costs_nothing(database: Database, store: ArtifactStore) -> None:
    submit_to(database, store, gpus=gpus)
    found = claim(database)
    tell(database, found, StageKind.FINETUNE, StageState.REUSED, 0)
    tell(database, found, StageKind.GENERATE, StageState.REUSED, 0)
    assert (used(database), _charges(database)) == (0, [])


def test_an_adopted_run_pays_once(database: Database, store: ArtifactStore) -> None:
    submit_to(database, store, gpus=gpus)
    found = claim(database)
    tell(database, found, StageKind.FINETUNE, StageState.DONE, 10)
    tell(database, found, StageKind.GENERATE, StageState.CANCELLED, 7)
    assert used(database) == 24
    release_run(database, "first", found.run_id)
    again = claim(database, "second")
    assert again.adopted
    tell(database, again, StageKind.FINETUNE, StageState.REUSED, 0, "second")
    for state, seconds in [(StageState.WAITING, 0), (StageState.RUNNING, 3), (StageState.DONE, 30)]:
        tell(database, again, StageKind.GENERATE, state, seconds, "second")
    assert used(database) == 10 + 60


def test_what_a_dead_dispatcher_had_made_is_charged(
    database: Database, store: ArtifactStore
) -> None:
    """It died between the artifact and its report: the adopter finds the stage reused."""
    submit_to(database, store, gpus=gpus)
    found = claim(database)
    tell(database, found, StageKind.GENERATE, StageState.RUNNING, 20)
    release_run(database, "first", found.run_id)
    tell(database, claim(database, "second"), StageKind.GENERATE, StageState.REUSED, 0, "second")
    assert used(database) == 40


def test_images_that_another_run_drew_meanwhile_are_charged_once(
    database: Database, store: ArtifactStore
) -> None:
    """A dispatcher died under the first run's stage, and the second run took it up."""
    for key in ("one", "two"):
        submit_to(database, store, key=key, gpus=gpus, images_per_class=4)
    first = claim(database)
    tell(database, first, StageKind.GENERATE, StageState.RUNNING, 3)
    release_run(database, "first", first.run_id)
    first, second = claim(database, "second"), claim(database, "third")
    tell(database, second, StageKind.GENERATE, StageState.DONE, 20, "third")
    tell(database, first, StageKind.GENERATE, StageState.REUSED, 0, "second")
    with database.read() as session:
        assert sum(session.scalars(select(Charge.images))) == 8
    assert used(database) == 2 * (3 + 20), "each run's own seconds"


def test_a_stage_under_way_when_its_run_fails_is_charged(
    database: Database, store: ArtifactStore
) -> None:
    submit_to(database, store, gpus=gpus)
    found = claim(database)
    tell(database, found, StageKind.FINETUNE, StageState.RUNNING, 12)
    finish_run(database, "first", found.run_id, RunState.FAILED)
    assert used(database) == 12


def test_charge_and_event_are_one_transaction(
    database: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submit_to(database, store, gpus=gpus)
    found = claim(database)

    def fails(*_: object, **__: object) -> None:
        raise KeyError("the event cannot be written")

    monkeypatch.setattr("spinml.service.journal._append", fails)
    with pytest.raises(KeyError):
        tell(database, found, StageKind.FINETUNE, StageState.DONE, 10)
    assert _charges(database) == []
    states = {stage.kind: stage.state for stage in get_run(database, "anna", str(run.id)).stages}
    assert states[StageKind.FINETUNE] == StageState.WAITING


def test_deleting_a_run_gives_no_quota_back(database: Database, store: ArtifactStore) -> None:
    run = submit_to(database, store, gpus=gpus, images_per_class=4)
    found = claim(database)
    tell(database, found, StageKind.GENERATE, StageState.DONE, 30)
    finish_run(database, "first", found.run_id, RunState.SUCCEEDED)
    erase(database, store, evict_here, delete_run(database, "anna", str(run.id)))
    after = usage(database, "anna")
    assert (after.gpu_seconds, after.images, after.stored_bytes) == (60, 8, 0)
    month_later = usage(database, "anna", now() + PERIOD)
    assert (month_later.gpu_seconds, month_later.images) == (0, 0)


def test_spent_gpu_seconds_renew(database: Database, store: ArtifactStore) -> None:
    set_quotas(database, "anna", max_gpu_seconds=50)
    submit_to(database, store, gpus=gpus)
    submit_to(database, store, key="queued", gpus=gpus, seed=1)
    found = claim(database)
    tell(database, found, StageKind.GENERATE, StageState.DONE, 30)
    finish_run(database, "first", found.run_id, RunState.SUCCEEDED)
    with pytest.raises(QuotaSpentError) as caught:
        submit_to(database, store, key="late", gpus=gpus, seed=2)
    wait_s = caught.value.details["retry_after_s"]
    assert PERIOD.total_seconds() - 60 < wait_s <= PERIOD.total_seconds()
    assert claim_run(database, "first", 60) is None  # the queued one waits
    without = submit_to(database, store, key="without GPUs", seed=3)
    assert claim(database).run_id == without.id
    later = claim_run(database, "first", 60, now() + timedelta(seconds=wait_s))
    assert later is not None


def test_a_full_store_holds_the_queue_up(database: Database, store: ArtifactStore) -> None:
    run = submit_to(database, store, "bert", "done")
    finish_run(database, "first", claim(database).run_id, RunState.SUCCEEDED)
    queued = submit_to(database, store, "bert", "queued", seed=1)
    set_quotas(database, "bert", max_stored_bytes=1)
    assert claim_run(database, "first", 60) is None
    set_quotas(database, "bert", max_stored_bytes=None)
    assert claim(database).run_id == queued.id
    assert run.id != queued.id


def _charges(database: Database) -> list[float]:
    with database.read() as session:
        return list(session.scalars(select(Charge.gpu_seconds)))


@pytest.mark.parametrize(
    "values", [{"weight": 0.0}, {"weight": -1.0}, {"weight": float("nan")}, {"max_images": -5}]
)
def test_quotas_that_are_none(database: Database, values: dict[str, float]) -> None:
    with pytest.raises(InvalidRequestError):
        set_quotas(database, "anna", **values)
    with pytest.raises(NotFoundError):
        set_quotas(database, "nobody", max_images=1)


class TestOverHttp:
    def test_images(self, client: TestClient, headers: Headers, state: ServiceState) -> None:
        set_quotas(state.database, "anna", max_images=20)
        parts = bundles.bundle(images_per_class=6).to_parts()
        assert send(client, headers(), parts, "one").status_code == 201
        assert send(client, headers(), parts, "same-images").status_code == 201
        more = bundles.bundle(images_per_class=6, seed=1).to_parts()
        answer = send(client, headers(), more, "two")
        refuses(answer, 429, "quota_spent")
        assert (
            int(answer.headers["Retry-After"]) == answer.json()["error"]["details"]["retry_after_s"]
        )
        never = bundles.bundle(images_per_class=11, seed=2).to_parts()
        refuses(send(client, headers(), never, "three"), 403, "quota_exceeded")
        assert send(client, headers("bert"), never, "three").status_code == 201
        told = client.get("/v1/quota", headers=headers()).json()
        assert (told["images"], told["max_images"], told["queued_runs"]) == (12, 20, 2)

    def test_stored_bytes(self, client: TestClient, headers: Headers, state: ServiceState) -> None:
        first = bundles.bundle()
        assert send(client, headers(), first.to_parts(), "one").status_code == 201
        stored = usage(state.database, "anna").stored_bytes
        files = [
            state.store.open_file(key, name).read()
            for key in state.store.list_keys("anna")
            for name in state.store.list_files(key)
        ]
        assert stored == sum(len(data) for data in files)
        set_quotas(state.database, "anna", max_stored_bytes=stored)
        assert send(client, headers(), first.to_parts(), "same").status_code == 201
        before = state.store.list_keys("anna", partial=True)
        other = bundles.bundle(images=(bundles.cut_out(7),)).to_parts()
        refuses(send(client, headers(), other, "other"), 403, "quota_exceeded")
        assert state.store.list_keys("anna", partial=True) == before

    @pytest.mark.parametrize("limit", ["max_concurrent_runs", "max_gpu_seconds"])
    def test_nothing_at_all(
        self, client: TestClient, headers: Headers, state: ServiceState, limit: str
    ) -> None:
        set_quotas(state.database, "anna", **{limit: 0})
        answer = send(client, headers(), bundles.bundle().to_parts())
        wanted = {"max_concurrent_runs": 403, "max_gpu_seconds": 201}[limit]  # it holds no GPU
        assert answer.status_code == wanted, answer.text


def test_gpus_are_those_of_the_stages_resources(state: ServiceState) -> None:
    resources = state.config.resources.model_copy(
        update={"generation": Resources(num_gpus=0.5), "generation_actors": 3}
    )
    config: ServerConfig = state.config.model_copy(update={"resources": resources})
    with_gpus = replace(state, config=config)
    run: Run = submit(with_gpus, "anna", "one", bundles.bundle())[0]
    by_kind = {stage.kind: stage.gpus for stage in run.stages}
    assert (by_kind[StageKind.GENERATE], by_kind[StageKind.FINETUNE]) == (1.5, 0)


def test_the_executors_fake_keeps_the_books(database: Database, store: ArtifactStore) -> None:
    """A whole run by a dispatcher's own way: every stage charged once, every artifact counted."""
    from spinml.service.dispatcher import Dispatcher
    from tests.service.test_dispatcher import state_of, wait_for

    run = submit_to(database, store, gpus=gpus)
    dispatcher = Dispatcher(database, store, QuickExecutor(store), evict_here, poll_s=0.05)
    dispatcher.start()
    wait_for(lambda: state_of(database, run) == "succeeded")
    dispatcher.stop()
    assert used(database) == 1.0 * 1 + 1.0 * 2  # each stage reports one second
    sizes = [store.read_manifest(key).size_bytes for key in store.list_keys("anna")]
    assert usage(database, "anna").stored_bytes == sum(sizes)


def test_reports_and_the_queue_do_not_wait_for_a_tenants_lock(
    database: Database, store: ArtifactStore
) -> None:
    """Whoever deletes holds the tenant and then wants the run: the other way round is deadlock."""
    if database.is_embedded:
        pytest.skip("SQLite has one writer")
    submit_to(database, store, gpus=gpus)
    submit_to(database, store, key="two", gpus=gpus, seed=1)
    found = claim(database)
    with database.write() as session:
        lock_tenant(session, "anna")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(tell, database, found, StageKind.FINETUNE, StageState.DONE, 10).result(
                timeout=10
            )
            pool.submit(finish_run, database, "first", found.run_id, RunState.SUCCEEDED).result(
                timeout=10
            )
            pool.submit(claim, database).result(timeout=10)
    assert used(database) == 10
