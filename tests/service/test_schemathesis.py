"""Requests made from the OpenAPI document: no 500, and every answer as documented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from spinml.config import CheckpointConfig, RateConfig, ServerConfig, ServiceConfig, StoreConfig
from spinml.service.app import create_app
from spinml.service.health import Check, Readiness
from spinml.service.keys import create_key, create_tenant
from spinml.service.runs import request_cancel
from spinml.service.state import ServiceState
from tests.service import bundles
from tests.service.executors import checkpoint
from tests.service.test_access import NEEDED
from tests.service.test_submit import send

BOUNDED = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


class Served:
    """The application over SQLite and a folder, with a tenant's key and a run that has ended."""

    def __init__(self, folder: Path) -> None:
        config = ServerConfig(
            checkpoint=CheckpointConfig(base=str(checkpoint(folder / "checkpoint"))),
            store=StoreConfig(
                artifacts=f"file://{folder}/store",
                database=SecretStr(f"sqlite:///{folder}/spinml.db"),
            ),
            service=ServiceConfig(
                rates=RateConfig(requests_per_minute=None, submissions_per_minute=None)
            ),
        )
        self.state = ServiceState.from_config(config)
        create_tenant(self.state.database, "anna")
        self.headers = {"Authorization": f"Bearer {create_key(self.state.database, 'anna')}"}
        self.app = create_app(self.state)
        # No dispatcher and no Ray here: tests/service/test_health.py has the answers without them.
        self.app.state.readiness = Readiness((Check("nothing", lambda: None),))
        with TestClient(self.app) as client:
            answer = send(client, self.headers, bundles.bundle().to_parts())
        self.run = answer.json()["id"]
        request_cancel(self.state.database, "anna", self.run)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("served"))
    yield served
    served.state.database.close()


@pytest.fixture(scope="module")
def api(served: Served) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", served.app)


OPERATIONS = [*NEEDED, ("GET", "/healthz"), ("GET", "/readyz")]


def explore(served: Served, api: Any, operation: tuple[str, str], examples: int) -> None:
    """Requests that fit the document and such that do not, every answer held against it."""
    method, route = operation
    described = api[route.replace("RUN", "{run_id}")][method]

    @settings(max_examples=examples, **BOUNDED)
    @given(
        case=st.one_of(described.as_strategy(generation_mode=mode) for mode in GenerationMode),
        is_there=st.booleans(),
    )
    def ask(case: Any, is_there: bool) -> None:
        if "RUN" in route and is_there:
            case.path_parameters["run_id"] = served.run
        # What OpenAPI cannot say of a bundle (digests, true PNGs) is refused although it fits;
        # what it can, a bundle may break and be refused for something else first.
        excluded = [positive_data_acceptance]
        case.call_and_validate(headers=served.headers, excluded_checks=excluded)

    ask()


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_documented(served: Served, api: Any, operation: tuple[str, str]) -> None:
    explore(served, api, operation, 25)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_documented_at_length(served: Served, api: Any, operation: tuple[str, str]) -> None:
    explore(served, api, operation, 300)


def test_every_operation_is_explored(api: Any) -> None:
    described = {operation.ok().label for operation in api.get_all_operations()}
    assert described == {
        f"{method} {route.replace('RUN', '{run_id}')}" for method, route in OPERATIONS
    }
