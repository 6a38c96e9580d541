"""No secret in anything that is logged, shown, pickled or told."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from ray import cloudpickle

from spinml.config import RateConfig, ServerConfig, StoreConfig, load_config
from spinml.device.client import Client
from spinml.errors import ConfigError, DatabaseUnavailableError, SpinMLError
from spinml.service.app import create_app
from spinml.service.keys import create_key, create_tenant
from spinml.service.launch import RunningService
from spinml.service.serve import application
from spinml.service.state import ServiceState, open_database
from tests.service import bundles
from tests.service.redis_server import PASSWORD, running_redis
from tests.service.test_access import bearer
from tests.service.test_submit import send

DATABASE_SECRET = "database-secret-4711"
POSTGRESQL = f"postgresql+psycopg://user:{DATABASE_SECRET}@127.0.0.1:1/none"


@pytest.fixture
def config(
    config: ServerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServerConfig]:
    """The database's URL in the environment, Redis' in a file."""
    with running_redis(tmp_path) as (url, _):
        (tmp_path / "redis-url").write_text(url + "\n")
        monkeypatch.setenv("TEST_DATABASE_URL", f"sqlite:///{tmp_path}/{DATABASE_SECRET}.db")
        store = StoreConfig(artifacts=config.store.artifacts, database_env="TEST_DATABASE_URL")
        rates = RateConfig(counters="redis", redis_url_file=tmp_path / "redis-url")
        service = config.service.model_copy(update={"rates": rates})
        yield config.model_copy(update={"store": store, "service": service})


def test_a_configuration_holds_none_so_that_nothing_made_of_it_does(
    config: ServerConfig, state: ServiceState
) -> None:
    shown = [
        repr(config), str(config), config.model_dump_json(), repr(config.model_dump()),
        repr(state), repr(vars(state)), repr(state.rates), repr(vars(state.rates)),
    ]  # fmt: skip
    kept = [pickle.dumps(config), cloudpickle.dumps(application(config))]
    assert all(b"TEST_DATABASE_URL" in data for data in kept)
    for secret in (DATABASE_SECRET, PASSWORD):
        assert not [text for text in shown if secret in text]
        assert not [data for data in kept if secret.encode() in data]


def test_logs_and_answers_at_debug_hold_none(
    state: ServiceState, caplog: pytest.LogCaptureFixture
) -> None:
    key = create_key(state.database, "anna")
    with caplog.at_level(logging.DEBUG), TestClient(create_app(state)) as client:
        answers = [
            send(client, bearer(key), bundles.bundle().to_parts()),
            client.get("/v1/runs", headers=bearer(key)),
            client.get("/v1/runs", headers=bearer(key + "x")),
            client.get("/v1/runs/none", headers=bearer(key)),
            client.get("/readyz"),
        ]
    assert [answer.status_code for answer in answers] == [201, 200, 401, 404, 503]
    told = caplog.text + "".join(answer.text + repr(answer.headers) for answer in answers)
    assert caplog.records
    for secret in (DATABASE_SECRET, PASSWORD, key, key.split("_", 2)[2]):
        assert secret not in told


def test_errors_with_their_whole_traceback_hold_none(
    config: ServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", POSTGRESQL)
    with pytest.raises(DatabaseUnavailableError) as caught:
        open_database(config)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.as_dict())
    assert DATABASE_SECRET not in shown


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("database", POSTGRESQL),
        ("database", f"postgresql+psycopg://host/name?password={DATABASE_SECRET}"),
        ("s3_endpoint", f"https://user:{DATABASE_SECRET}@host"),
    ],
)
def test_a_password_in_a_configuration_is_refused_and_not_repeated(
    tmp_path: Path, field: str, value: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"store: {{{field}: '{value}'}}")
    with pytest.raises(ConfigError, match="holds a password") as caught:
        load_config(path)
    assert DATABASE_SECRET not in "".join(traceback.format_exception(caught.value))
    assert ("AWS_" if field == "s3_endpoint" else "database_file") in caught.value.message


def test_secrets_that_are_not_where_they_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_DATABASE_URL", raising=False)
    for store in (
        StoreConfig(database_env="TEST_DATABASE_URL"),
        StoreConfig(database_file=tmp_path / "none"),
        StoreConfig(database_file=_empty(tmp_path)),
    ):
        with pytest.raises(ConfigError) as caught:
            store.database_url()
        assert "store.database_" in caught.value.message


def test_keys_show_nowhere() -> None:
    key = "spin_0123456789ab_" + "s" * 43
    with Client("http://server", key, attempts=1) as client:
        shown = [repr(RunningService("http://server", key)), repr(client), repr(client._http)]
        with pytest.raises(SpinMLError) as caught:
            client.status("run")
        shown += traceback.format_exception(caught.value)
    assert not [text for text in shown if "sss" in text]


def _empty(folder: Path) -> Path:
    (folder / "empty").write_text(" \n")
    return folder / "empty"


@pytest.fixture
def state(config: ServerConfig) -> Iterator[ServiceState]:
    state = ServiceState.from_config(config)
    create_tenant(state.database, "anna")
    yield state
    state.database.close()
