"""``/readyz`` against a database, a store, a dispatcher and a Ray that are really not there."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text

from spinml.errors import SchemaVersionError
from spinml.service.app import create_app
from spinml.service.database import Database
from spinml.service.health import Check, Readiness
from spinml.service.heartbeats import FRESH_S, beat, sign_off
from spinml.service.models import now
from spinml.service.state import ServiceState


def failed(state: ServiceState) -> dict[str, str]:
    """What ``/readyz`` of a new process says."""
    with TestClient(create_app(state)) as client:
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text
    assert "secret" not in answer.text
    found = answer.json()["error"]["details"]["failed"]
    assert isinstance(found, dict)
    return found


def test_without_ray_and_dispatcher_it_is_not_ready(state: ServiceState) -> None:
    assert failed(state) == {
        "dispatcher": "no dispatcher has begun",
        "ray": "this process is not connected to Ray",
    }


def test_a_dispatcher_must_have_been_heard_of_lately(state: ServiceState) -> None:
    beat(state.database, "one")
    assert "dispatcher" not in failed(state)
    sign_off(state.database, "one")
    beat(state.database, "two", now() - timedelta(seconds=FRESH_S + 5))
    assert failed(state)["dispatcher"].startswith("no dispatcher was heard of for 3")


def test_a_store_that_takes_nothing(state: ServiceState, tmp_path: Path) -> None:
    assert "store" not in failed(state)
    assert not list((tmp_path / "store").rglob(".probe/*"))
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "store").write_text("a file where the folder was")
    assert "failed to take a file" in failed(state)["store"]
    assert str(tmp_path) not in str(failed(state))


def test_tables_of_another_version(state: ServiceState, sqlite_url: str) -> None:
    engine = create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    assert "version 9999" in failed(state)["database"]
    with pytest.raises(SchemaVersionError):
        state.database.check()


def test_a_database_that_refuses_connections(state: ServiceState) -> None:
    gone = Database("postgresql+psycopg://user:secret@127.0.0.1:1/none")
    found = failed(replace(state, database=gone))
    assert found["database"] == found["dispatcher"]
    assert found["database"].startswith("the database cannot be used")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A server that takes connections and never says anything."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


def test_a_hanging_database_hangs_no_probe(state: ServiceState, silent_port: int) -> None:
    hanging = replace(
        state, database=Database(f"postgresql+psycopg://u:secret@127.0.0.1:{silent_port}/none")
    )
    app = create_app(hanging)
    app.state.readiness = Readiness.of(hanging, limit_s=0.5)
    with TestClient(app) as client:
        for _ in range(3):
            began = time.monotonic()
            answer = client.get("/readyz")
            assert time.monotonic() - began < 2
            found = answer.json()["error"]["details"]["failed"]
            assert found["database"] == found["dispatcher"] == "no answer within 0.5 s"
            assert client.get("/healthz").status_code == 200
        checks = [t for t in threading.enumerate() if t.name.startswith("check-")]
        assert len(checks) == 2  # one each of database and dispatcher, however often it is asked


def test_a_result_is_asked_for_once_and_kept_for_a_moment() -> None:
    made: list[int] = []
    gate = threading.Event()

    def test() -> None:
        made.append(1)
        gate.wait(10)
        raise RuntimeError("words of a person")

    check = Check("slow", test, keep_s=0.2)
    first, second = check.begin(), check.begin()
    assert first is second
    gate.set()
    assert first.result(10) == "RuntimeError"
    assert check.begin() is first
    time.sleep(0.3)
    check.begin().result(10)
    assert len(made) == 2
