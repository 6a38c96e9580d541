"""``spinml admin``, and this machine's own key."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spinml.config import load_config
from spinml.device.key import key_file
from spinml.distributed.caches import evict_here
from spinml.errors import AuthenticationError, ConfigError, ConflictError, NotFoundError
from spinml.pipeline.artifacts import ArtifactStore
from spinml.service.admin import admin
from spinml.service.database import Database
from spinml.service.erasure import delete_run, erase
from spinml.service.keys import KeyVerifier, create_tenant, list_tenants, revoke_key
from spinml.service.launch import DEFAULT_TENANT, own_key
from spinml.service.state import open_database
from spinml.service.tenant_deletion import delete_tenant
from tests.service.submissions import submit_to


@pytest.fixture
def config_file(tmp_path: Path, sqlite_url: str) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"store": {"database": sqlite_url}}))
    return str(path)


def test_a_keys_life(config_file: str, sqlite_url: str) -> None:
    def run(*arguments: str) -> str:
        options = [*arguments, "--config", config_file]
        return CliRunner().invoke(admin, options, catch_exceptions=False).stdout.strip()

    run("tenant", "create", "anna")
    run("quota", "set", "anna", "--images", "50", "--gpu-seconds", "9.5", "--weight", "2")
    run("quota", "set", "anna", "--images", "-1", "--concurrent-runs", "3")
    (quota,) = json.loads(run("quota", "show", "anna", "--json"))
    assert (quota["max_images"], quota["max_gpu_seconds"], quota["weight"]) == (None, 9.5, 2)
    assert (quota["max_concurrent_runs"], quota["images"]) == (3, 0)
    assert [row["tenant"] for row in json.loads(run("tenant", "list", "--json"))] == ["anna"]
    key = run("key", "create", "anna", "--label", "phone", "--days", "3")
    keys = KeyVerifier(Database(sqlite_url))
    assert keys.caller(key).tenant == "anna"
    (row,) = json.loads(run("key", "list", "anna", "--json"))
    assert (row["label"], len(row["scopes"].split())) == ("phone", 4)
    assert key not in run("key", "list")
    reader = run("key", "create", "anna", "--scope", "runs:read")
    assert keys.caller(reader).scopes == {"runs:read"}
    run("key", "revoke", row["id"])
    with pytest.raises(AuthenticationError):
        keys.caller(key)
    with pytest.raises(ConflictError):
        run("tenant", "create", "anna")
    run("quota", "set", "anna", "--images", "50", "--gpu-seconds", "9.5", "--weight", "2")
    run("quota", "set", "anna", "--images", "-1", "--concurrent-runs", "3")
    (quota,) = json.loads(run("quota", "show", "anna", "--json"))
    assert (quota["max_images"], quota["max_gpu_seconds"], quota["weight"]) == (None, 9.5, 2)
    assert (quota["max_concurrent_runs"], quota["images"]) == (3, 0)
    with pytest.raises(NotFoundError):
        run("key", "create", "nobody")


def test_the_databases_url_is_read_from_a_mounted_secret(tmp_path: Path, sqlite_url: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text(sqlite_url + "\n")
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"store": {"database_file": str(secret)}}))
    config = load_config(path)
    assert sqlite_url.encode() not in pickle.dumps(config)  # what Ray passes around
    create_tenant(open_database(config), "anna")
    assert [tenant.id for tenant in list_tenants(Database(sqlite_url))] == ["anna"]
    secret.unlink()
    with pytest.raises(ConfigError, match="database_file cannot be read: FileNotFoundError"):
        open_database(config)
    path.write_text(json.dumps({"store": {"database": sqlite_url, "database_file": str(secret)}}))
    with pytest.raises(ConfigError, match="both given"):
        load_config(path)


def test_this_machines_key_is_made_once_and_private(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPINML_HOME", str(tmp_path / "home"))
    database = Database(sqlite_url)
    database.create()
    key = own_key(database, key_file())
    assert own_key(database, key_file()) == key
    assert key_file().stat().st_mode & 0o777 == 0o600
    assert key is not None
    revoke_key(database, key.split("_")[1])
    assert own_key(database, key_file()) != key


def test_a_service_whose_own_tenant_was_deleted_starts_without_a_key(
    tmp_path: Path, sqlite_url: str
) -> None:
    database, path = Database(sqlite_url), tmp_path / "api_key"
    database.create()
    assert own_key(database, path) is not None
    delete_tenant(database, ArtifactStore.from_url(f"file://{tmp_path}/store"), DEFAULT_TENANT)
    assert own_key(database, path) is None


def test_runs_of_all_tenants(config_file: str, sqlite_url: str, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        options = ["runs", *arguments, "--config", config_file]
        return CliRunner().invoke(admin, options, catch_exceptions=False).stdout.strip()

    database, store = Database(sqlite_url), ArtifactStore.from_url(f"file://{tmp_path}/store")
    database.create()
    for tenant in ("anna", "bert"):
        create_tenant(database, tenant)
        submit_to(database, store, tenant)
    rows = json.loads(run("list", "--json"))
    assert [(row["tenant"], row["state"]) for row in rows] == [
        ("bert", "queued"),
        ("anna", "queued"),
    ]
    assert "dog" not in run("list")
    (hers,) = json.loads(run("list", "anna", "--json"))
    assert run("cancel", "anna", hers["id"]) == "cancelled"
    with pytest.raises(NotFoundError):
        run("cancel", "bert", hers["id"])
    assert len(json.loads(run("list", "--state", "queued", "--json"))) == 1
    erase(database, store, evict_here, delete_run(database, "anna", hers["id"]))
    (receipt,) = json.loads(run("receipts", "anna", "--json"))
    assert (receipt["run_id"], receipt["reason"]) == (hers["id"], "deleted by its owner")
