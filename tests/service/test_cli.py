"""``spinml admin``, and this machine's own key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spinml.device.key import key_file
from spinml.errors import AuthenticationError, ConflictError, NotFoundError
from spinml.service.admin import admin
from spinml.service.database import Database
from spinml.service.keys import KeyVerifier, revoke_key
from spinml.service.launch import own_key


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
    assert keys.caller(key).tenant == "anna"
    (row,) = json.loads(run("key", "list", "anna", "--json"))
    assert row["label"] == "phone"
    assert key not in run("key", "list")
    run("key", "revoke", row["id"])
    with pytest.raises(AuthenticationError):
        keys.caller(key)
    with pytest.raises(ConflictError):
        run("tenant", "create", "anna")
    with pytest.raises(NotFoundError):
        run("key", "create", "nobody")


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
