"""What is erased and when: policy, receipts, caches, and runs that share a stage."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from spinml.config import RetentionConfig
from spinml.distributed.caches import evict_here
from spinml.errors import ArtifactError, StageCancelledError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import CACHE_ENV, NodeCache
from spinml.pipeline.plan import missing
from spinml.pipeline.stages import ArtifactKey, StageKind
from spinml.service.database import Database
from spinml.service.erasure import (
    delete_run,
    erase,
    finish_erasures,
    list_receipts,
    take_stock,
)
from spinml.service.leases import claim_run, finish_run, release_run, report_stage
from spinml.service.ledger import Erasure
from spinml.service.models import RunState, now
from spinml.service.plans import plan_from_json
from spinml.service.quotas import usage
from spinml.service.retention import erase_orphans, keep_policy, spent_segments
from spinml.service.state import ServiceState
from spinml.service.submit import store_segment
from tests.service import bundles
from tests.service.conftest import Headers
from tests.service.executors import QuickExecutor, Report
from tests.service.submissions import find_run, submit_to
from tests.service.test_submit import refuses, send

POLICY = RetentionConfig()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeCache:
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))
    return NodeCache()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.from_url(f"file://{tmp_path}/store")


def segments(store: ArtifactStore, tenant: str = "anna") -> int:
    """How many with images."""
    keys = [key for key in store.list_keys(tenant) if key.kind is StageKind.SEGMENT]
    return sum(len(store.list_files(key)) > 1 for key in keys)


def keep(database: Database, store: ArtifactStore, policy: RetentionConfig = POLICY) -> int:
    return keep_policy(database, store, evict_here, policy)


def execute(database: Database, store: ArtifactStore, until: StageKind | None = None) -> None:
    """Claim the next run and do its stages, or those before ``until``, which stays under way."""
    claim = claim_run(database, "owner", 60)
    assert claim is not None
    executor = QuickExecutor(store)

    def report(told: Report) -> None:
        report_stage(database, "owner", claim.run_id, told, told.state)

    def stop() -> bool:
        return True

    if until is not None:
        executor.gate = lambda stage: stage.kind is not until
    try:
        executor(plan_from_json(claim.plan), claim.tenant, "", report, stop)  # type: ignore[arg-type]
    except StageCancelledError:
        assert until is not None
        return
    take_stock(database, store)
    finish_run(database, "owner", claim.run_id, RunState.SUCCEEDED)


def test_what_was_sent_goes_once_fine_tuning_is_done(
    database: Database, store: ArtifactStore, cache: NodeCache
) -> None:
    submit_to(database, store)
    keep(database, store)
    assert segments(store) == 1
    (sent,) = [key for key in store.list_keys("anna") if len(store.list_files(key)) > 1]
    cached = cache.fetch(store, sent)
    execute(database, store, until=StageKind.GENERATE)
    assert keep(database, store) == 2  # the target's images and the background's words
    assert segments(store) == 0
    assert not cached.exists()
    (receipt,) = list_receipts(database, "anna", 10)
    assert (receipt.reason, receipt.run_id) == ("no run needs it any more", None)
    assert receipt.completed_at is not None
    assert sent.digest in {item["digest"] for item in receipt.artifacts}
    assert {item["kind"] for item in receipt.artifacts} == {"segment"}
    assert keep(database, store) == 0


def test_an_adopted_run_goes_on_without_its_bundle(
    database: Database, store: ArtifactStore
) -> None:
    run = submit_to(database, store)
    execute(database, store, until=StageKind.GENERATE)
    keep(database, store)
    release_run(database, "owner", run.id)
    execute(database, store)
    found = find_run(database, "anna", run.id)
    assert found is not None
    assert found.state == RunState.SUCCEEDED


def test_an_adopted_run_keeps_the_bundle_it_needs(database: Database, store: ArtifactStore) -> None:
    run = submit_to(database, store)
    execute(database, store, until=StageKind.FINETUNE)
    release_run(database, "owner", run.id)
    keep(database, store)
    assert segments(store) == 1
    execute(database, store)
    keep(database, store)
    assert segments(store) == 0


def test_a_sweep_keeps_a_shared_segment_until_its_last_run(
    database: Database, store: ArtifactStore
) -> None:
    for seed in range(3):
        submit_to(database, store, key=str(seed), seed=seed)
    for left in (2, 1, 0):
        execute(database, store)
        keep(database, store)
        assert segments(store) == (1 if left else 0)


def test_trying_a_failed_run_again_brings_the_bundle_and_reuses_the_rest(
    database: Database, store: ArtifactStore
) -> None:
    failed = submit_to(database, store)
    execute(database, store, until=StageKind.GENERATE)
    finish_run(database, "owner", failed.id, RunState.FAILED)
    keep(database, store)
    assert segments(store) == 0
    again = submit_to(database, store, key="again")
    plan = plan_from_json(again.plan)
    todo = missing(plan, lambda stage: store.exists(stage.key("anna")))
    assert todo[0].kind is StageKind.GENERATE
    execute(database, store)
    keep(database, store)
    assert segments(store) == 0


def test_words_alone_need_no_segment(database: Database, store: ArtifactStore) -> None:
    run = submit_to(database, store, target="L0")
    assert keep(database, store) == 2
    assert store.list_keys("anna", partial=True) == []
    execute(database, store)
    found = find_run(database, "anna", run.id)
    assert found is not None
    assert found.state == RunState.SUCCEEDED


def test_another_policy_keeps_bundles_with_the_run(
    database: Database, store: ArtifactStore
) -> None:
    run = submit_to(database, store)
    execute(database, store)
    policy = RetentionConfig(bundles="with_run", days=None)
    assert keep_policy(database, store, evict_here, policy, now() + timedelta(days=999)) == 0
    assert segments(store) == 1
    assert find_run(database, "anna", run.id) is not None


def test_the_rest_goes_after_so_many_days(database: Database, store: ArtifactStore) -> None:
    run = submit_to(database, store)
    execute(database, store)
    waiting = submit_to(database, store, key="waiting", seed=1)
    keep(database, store)
    left = len(store.list_keys("anna"))
    keep_policy(database, store, evict_here, POLICY, now() + timedelta(days=29))
    assert len(store.list_keys("anna")) == left
    keep_policy(database, store, evict_here, POLICY, now() + timedelta(days=31))
    assert find_run(database, "anna", run.id) is None
    assert find_run(database, "anna", waiting.id) is not None
    assert {key.kind for key in store.list_keys("anna")} == {StageKind.SEGMENT}
    (receipt,) = list_receipts(database, "anna", 10, run.id)
    assert receipt.reason == "older than is kept"


def test_deleting_spares_what_another_run_shares_and_says_so(
    database: Database, store: ArtifactStore, cache: NodeCache
) -> None:
    first = submit_to(database, store)
    execute(database, store)
    second = submit_to(database, store, key="two", images_per_class=8)
    execute(database, store)
    cached = {key: cache.fetch(store, key) for key in store.list_keys("anna")}
    manifests = {key: store.read_manifest(key) for key in cached}
    erase(database, store, evict_here, delete_run(database, "anna", str(first.id)))
    left = set(store.list_keys("anna"))
    for key, folder in cached.items():
        assert folder.exists() == (key in left)
    plan = plan_from_json(second.plan)
    assert {stage.key("anna") for stage in plan} == left
    assert missing(plan, lambda stage: store.exists(stage.key("anna"))) == []
    (receipt,) = list_receipts(database, "anna", 10, first.id)
    assert receipt.completed_at is not None
    assert receipt.kept == 4  # two segments, class images, weights
    told = {item["digest"]: item for item in receipt.artifacts}
    assert set(told) == {key.digest for key in cached if key not in left}
    for key in cached:
        if key not in left:
            assert told[key.digest]["content_sha256"] == manifests[key].content_sha256
            assert told[key.digest]["size_bytes"] == manifests[key].size_bytes
    assert "dog" not in str(receipt.artifacts) + receipt.reason
    assert usage(database, "anna").stored_bytes == sum(manifests[key].size_bytes for key in left)


def test_a_receipt_is_complete_when_caches_are_erased_too(
    database: Database, store: ArtifactStore
) -> None:
    run = submit_to(database, store)
    keys = delete_run(database, "anna", str(run.id))

    def unreachable(keys: object) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        erase(database, store, unreachable, keys)
    assert list_receipts(database, "anna", 10)[0].completed_at is None
    erase(database, store, evict_here, keys)
    assert list_receipts(database, "anna", 10)[0].completed_at is not None


def unerasable(store: ArtifactStore, key: ArtifactKey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the store refuse to delete one artifact."""
    delete = store.delete

    def refuse(asked: ArtifactKey) -> None:
        if asked == key:
            raise ArtifactError("the artifact store failed to delete an artifact")
        delete(asked)

    monkeypatch.setattr(store, "delete", refuse)


def erasing(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(Erasure.digest)))


def test_an_artifact_that_cannot_be_erased_keeps_no_other(
    database: Database, store: ArtifactStore, cache: NodeCache
) -> None:
    run = submit_to(database, store)
    execute(database, store)
    stuck, *others = delete_run(database, "anna", str(run.id))
    cached = {key: cache.fetch(store, key) for key in (stuck, *others)}
    with pytest.MonkeyPatch.context() as patched:
        unerasable(store, stuck, patched)
        with pytest.raises(ArtifactError):
            erase(database, store, evict_here, [stuck, *others])
    assert erasing(database) == {stuck.digest}
    assert store.list_keys("anna", partial=True) == [stuck]
    assert [key for key in cached if cached[key].exists()] == [stuck]
    assert list_receipts(database, "anna", 10)[0].completed_at is None
    finish_erasures(database, store, evict_here, timedelta(0))
    assert list_receipts(database, "anna", 10)[0].completed_at is not None


def test_an_orphan_that_cannot_be_erased_has_one_receipt(
    database: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_segment(store, "anna", bundles.bundle().segments[0])
    unerasable(store, store.list_keys("anna")[0], monkeypatch)
    with pytest.raises(ArtifactError):
        erase_orphans(database, store, evict_here)
    assert erase_orphans(database, store, evict_here) == 0
    assert len(list_receipts(database, "anna", 10)) == 1


def test_a_receipt_is_completed_by_whoever_erases_its_last_artifact(
    database: Database, store: ArtifactStore
) -> None:
    """Segments that go after fine-tuning, and again with their run before they are gone."""
    run = submit_to(database, store)
    execute(database, store)
    spent_segments(database)
    keys = delete_run(database, "anna", str(run.id))
    sent = [key for key in keys if key.kind is StageKind.SEGMENT]
    erase(database, store, evict_here, [key for key in keys if key not in sent])
    assert [receipt.completed_at for receipt in list_receipts(database, "anna", 10)] == [None] * 2
    erase(database, store, evict_here, sent)
    assert all(receipt.completed_at for receipt in list_receipts(database, "anna", 10))


def test_receipts_are_ones_own(client: TestClient, headers: Headers, state: ServiceState) -> None:
    run_id = send(client, headers(), bundles.bundle().to_parts()).json()["id"]
    client.delete(f"/v1/runs/{run_id}", headers=headers()).raise_for_status()
    (receipt,) = client.get(f"/v1/receipts?run={run_id}", headers=headers()).json()["receipts"]
    assert (receipt["run_id"], len(receipt["artifacts"])) == (run_id, 9)
    assert receipt["completed_at"]
    assert client.get("/v1/receipts", headers=headers("bert")).json() == {"receipts": []}
    refuses(client.get("/v1/receipts?run=x", headers=headers()), 422, "invalid_request")


def test_what_was_not_noted_is_found(database: Database, store: ArtifactStore) -> None:
    submit_to(database, store)
    claim = claim_run(database, "owner", 60)
    assert claim is not None
    QuickExecutor(store)(plan_from_json(claim.plan), "anna", "", lambda report: None, lambda: False)
    before = usage(database, "anna").stored_bytes
    take_stock(database, store)
    sizes = [store.read_manifest(key).size_bytes for key in store.list_keys("anna")]
    assert before < usage(database, "anna").stored_bytes == sum(sizes)
