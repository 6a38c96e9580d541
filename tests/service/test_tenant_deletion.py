"""Erasing a tenant: what goes, what stays, and what stops it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from typer.testing import CliRunner

from spinml.distributed.caches import evict_here
from spinml.errors import AuthenticationError, ConflictError, NotFoundError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.pipeline.cache import CACHE_ENV
from spinml.service import tenant_deletion
from spinml.service.admin import admin
from spinml.service.database import Database
from spinml.service.erasure import finish_erasures, list_receipts
from spinml.service.keys import KeyVerifier, create_key, create_tenant, list_keys, list_tenants
from spinml.service.leases import claim_run, finish_run
from spinml.service.ledger import Charge, StoredArtifact
from spinml.service.models import Run, RunState, Tenant, now
from spinml.service.runs import get_run, list_all
from spinml.service.submit import store_segment
from spinml.service.tenant_deletion import delete_tenant
from tests.service import bundles
from tests.service.submissions import submit_to
from tests.service.test_retention import execute


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.from_url(f"file://{tmp_path}/store")


def rows(database: Database, table: type[Run | Charge | StoredArtifact], tenant: str) -> int:
    query = select(func.count()).select_from(table).where(table.tenant_id == tenant)
    with database.read() as session:
        return session.scalar(query) or 0


def test_nothing_is_left_but_receipts(database: Database, store: ArtifactStore) -> None:
    keys = {name: create_key(database, name) for name in ("anna", "bert")}
    for tenant in ("anna", "bert"):
        submit_to(database, store, tenant)
        execute(database, store)
    assert rows(database, Charge, "anna") > 0
    before = {tenant: len(store.list_keys(tenant)) for tenant in ("anna", "bert")}

    done = delete_tenant(database, store, "anna")
    assert (done.tenant, done.keys, done.runs) == ("anna", 1, 1)
    assert done.artifacts >= before["anna"] > 0
    assert store.list_keys("anna", partial=True) == []
    assert [tenant.id for tenant in list_tenants(database)] == ["bert"]
    assert list_keys(database, "anna") == []
    with pytest.raises(AuthenticationError):
        KeyVerifier(database).caller(keys["anna"])
    assert [rows(database, table, "anna") for table in (Run, Charge)] == [0, 0]

    finish_erasures(database, store, evict_here, timedelta(0))
    assert rows(database, StoredArtifact, "anna") == 0
    receipts = list_receipts(database, "anna", 10)
    assert receipts
    assert all(receipt.completed_at for receipt in receipts)
    assert {receipt.reason for receipt in receipts} == {"its tenant was deleted"}

    assert KeyVerifier(database).caller(keys["bert"]).tenant == "bert"
    assert len(store.list_keys("bert")) == before["bert"]
    assert rows(database, Run, "bert") == 1
    with pytest.raises(ConflictError, match="was a tenant"):
        create_tenant(database, "anna")
    with pytest.raises(NotFoundError):
        create_key(database, "anna")
    with pytest.raises(NotFoundError):
        submit_to(database, store, "anna")


def test_runs_under_way_stop_it_unless_they_are_cancelled(
    database: Database, store: ArtifactStore
) -> None:
    submit_to(database, store, "anna", "one")
    submit_to(database, store, "anna", "two")
    claim = claim_run(database, "owner", 60)
    assert claim is not None
    create_key(database, "anna")
    with pytest.raises(ConflictError, match="2 run"):
        delete_tenant(database, store, "anna")
    assert len(list_keys(database, "anna")) == 1, "nothing was changed"

    with pytest.raises(ConflictError, match="still under way"):
        delete_tenant(database, store, "anna", cancel=True, patience_s=0.2)
    assert list_keys(database, "anna") == []
    states = {run.state for run in list_all(database, "anna", None, 10)}
    assert states == {RunState.RUNNING, RunState.CANCELLED}
    finish_run(database, "owner", claim.run_id, RunState.CANCELLED)
    assert delete_tenant(database, store, "anna", cancel=True).runs == 2
    with database.read() as session:
        assert session.get(Tenant, "anna").deleted_at is not None


def test_a_deletion_that_dies_leaves_nothing_of_the_tenant_in_the_queue(
    database: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submit_to(database, store, "anna")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tenant_deletion, "_await_end", killed)
    with pytest.raises(KeyboardInterrupt):
        delete_tenant(database, store, "anna", cancel=True)
    assert get_run(database, "anna", str(run.id)).state == RunState.CANCELLED
    assert claim_run(database, "owner", 60) is None


def test_the_queue_passes_over_runs_of_a_deleted_tenant(
    database: Database, store: ArtifactStore
) -> None:
    """As a deletion that died has left them."""
    for tenant in ("anna", "bert"):
        submit_to(database, store, tenant)
    with database.write() as session:
        session.get_one(Tenant, "anna").deleted_at = now()
    claim = claim_run(database, "owner", 60)
    assert claim is not None
    assert claim.tenant == "bert"
    assert claim_run(database, "owner", 60) is None
    assert delete_tenant(database, store, "anna", cancel=True).runs == 1


def test_artifacts_that_no_run_holds_go_too(database: Database, store: ArtifactStore) -> None:
    """As a server leaves them that died between storing segments and queueing their run."""
    (segment, *_) = bundles.bundle().segments
    store_segment(store, "anna", segment)
    assert delete_tenant(database, store, "anna").artifacts == 1
    assert store.list_keys("anna", partial=True) == []
    (receipt,) = list_receipts(database, "anna", 10)
    assert [one["kind"] for one in receipt.artifacts] == ["segment"]
    with pytest.raises(NotFoundError):
        delete_tenant(database, store, "nobody")


def test_the_command_asks_first(tmp_path: Path, sqlite_url: str) -> None:
    path = tmp_path / "config.yaml"
    artifacts = f"file://{tmp_path}/store"
    path.write_text(json.dumps({"store": {"database": sqlite_url, "artifacts": artifacts}}))
    database = Database(sqlite_url)
    database.create()
    create_tenant(database, "anna")
    command = ["tenant", "delete", "anna", "--config", str(path)]
    assert CliRunner().invoke(admin, command, input="n\n").exit_code == 1
    assert [tenant.id for tenant in list_tenants(database)] == ["anna"]
    ended = CliRunner().invoke(admin, [*command, "--yes", "--json"], catch_exceptions=False)
    (done,) = json.loads(ended.stdout)
    assert (done["tenant"], done["runs"], done["artifacts"]) == ("anna", 0, 0)
    assert list_tenants(database) == []
