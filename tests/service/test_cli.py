"""``spinml admin``, and this machine's own key."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spinml.config import load_config
from spinml.device.key import key_file
from spinml.errors import AuthenticationError, ConfigError, ConflictError, NotFoundError
from spinml.service.cli import admin
from spinml.service.database import Database
from spinml.service.keys import KeyVerifier, create_tenant, list_tenants, revoke_key
from spinml.service.launch import own_key
from spinml.service.state import open_database


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
    assert [row["tenant"] for row in json.loads(run("tenant", "list", "--json"))] == ["anna"]
    key = run("key", "create", "anna", "--label", "phone", "--days", "3")
    keys = KeyVerifier(Database(sqlite_url))
    assert keys.tenant_of(key) == "anna"
    (row,) = json.loads(run("key", "list", "anna", "--json"))
    assert row["label"] == "phone"
    assert key not in run("key", "list")
    run("key", "revoke", row["id"])
    with pytest.raises(AuthenticationError):
        keys.tenant_of(key)
    with pytest.raises(ConflictError):
        run("tenant", "create", "anna")
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
    revoke_key(database, key.split("_")[1])
    assert own_key(database, key_file()) != key
