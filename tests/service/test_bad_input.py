"""The table of what may be sent or set wrongly: one error class each, with status and remedy.

Those that reach HTTP stand in the OpenAPI document under their operation. Others have their own
tests; here each class is met once, by the real thing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from spinml import errors
from spinml.config import CheckpointConfig, RateConfig, ServerConfig, StoreConfig, load_config
from spinml.errors import SpinMLError
from spinml.request import Scheme
from spinml.service.app import create_app
from spinml.service.keys import create_key, create_tenant, revoke_key
from spinml.service.models import Scope
from spinml.service.quotas import set_quotas
from spinml.service.state import ServiceState, open_database
from spinml.synthesis.checkpoint import Checkpoint
from tests.service import bundles
from tests.service.conftest import Headers
from tests.service.test_access import bearer
from tests.service.test_schema import change
from tests.service.test_submit import send
from tests.synthesis.tiny import make_tiny_checkpoint


@dataclass
class Served:
    """What a case may use."""

    state: ServiceState
    client: TestClient
    headers: Headers

    def key(self, **options: Any) -> dict[str, str]:
        return bearer(create_key(self.state.database, "anna", **options))

    def submit(self, parts: dict[str, bytes] | None = None, key: str = "one") -> httpx.Response:
        return send(self.client, self.headers(), parts or bundles.bundle().to_parts(), key)


Case = Callable[[Served], httpx.Response]


def wrong_key(served: Served) -> httpx.Response:
    return served.client.get("/v1/runs", headers=bearer("spin_0123456789ab_" + "x" * 43))


def expired_key(served: Served) -> httpx.Response:
    return served.client.get("/v1/runs", headers=served.key(valid_for=timedelta(seconds=-1)))


def revoked_key(served: Served) -> httpx.Response:
    key = served.key()
    revoke_key(served.state.database, key["Authorization"].split("_")[1])
    return served.client.get("/v1/runs", headers=key)


def scope_missing(served: Served) -> httpx.Response:
    return served.client.get("/v1/runs", headers=served.key(scopes=[Scope.DELETE]))


def over_quota(served: Served) -> httpx.Response:
    set_quotas(served.state.database, "anna", max_stored_bytes=1)
    return served.submit()


def over_a_quota_that_renews(served: Served) -> httpx.Response:
    set_quotas(served.state.database, "anna", max_images=1000)
    assert served.submit().status_code == 201
    return served.submit(bundles.bundle(seed=1).to_parts(), "two")


def over_rate(served: Served) -> httpx.Response:
    key = served.key()
    answer = served.client.get("/v1/runs", headers=key)
    while answer.status_code == 200:
        answer = served.client.get("/v1/runs", headers=key)
    return answer


def unknown_run(served: Served) -> httpx.Response:
    return served.client.get(
        "/v1/runs/3f0c9a52-0000-4000-8000-000000000000", headers=served.headers()
    )


def run_of_another_tenant(served: Served) -> httpx.Response:
    run = served.submit().json()["id"]
    return served.client.get(f"/v1/runs/{run}", headers=served.headers("bert"))


def malformed_multipart(served: Served) -> httpx.Response:
    sent = served.headers(idempotency_key="one", content_type="multipart/form-data; boundary=b")
    return served.client.post("/v1/runs", headers=sent, content=b"--c\r\nno such boundary")


def undeclared_part(served: Served) -> httpx.Response:
    return served.submit(bundles.bundle().to_parts() | {"target.7": bundles.cut_out(7)})


def missing_part(served: Served) -> httpx.Response:
    parts = bundles.bundle().to_parts()
    del parts["target.1"]
    return served.submit(parts)


def json_with_equal_keys(served: Served) -> httpx.Response:
    return served.submit({"manifest": b'{"version": 1, "version": 1}'})


def polyglot(served: Served) -> httpx.Response:
    return served.submit(bundles.bundle(Scheme.L2, (bundles.cut_out() + b"PK\3\4",)).to_parts())


def image_bomb(served: Served) -> httpx.Response:
    return served.submit(bundles.bundle(Scheme.L2, (bundles.bomb(),)).to_parts())


def photo_as_edges(served: Served) -> httpx.Response:
    return served.submit(bundles.bundle(Scheme.L1, (bundles.grey_photo(),)).to_parts())


def body_over_the_cap(served: Served) -> httpx.Response:
    return served.submit({"manifest": bytes(500_000)})


def request_without_classes(served: Served) -> httpx.Response:
    sent = bundles.bundle(Scheme.L0)
    request = sent.request.model_dump(mode="json") | {"label_classes": []}
    return served.submit(bundles.with_manifest(sent.to_parts(), request=request))


def same_key_for_another_bundle(served: Served) -> httpx.Response:
    assert served.submit().status_code == 201
    return served.submit(bundles.bundle(seed=1).to_parts())


def model_of_a_run_that_waits(served: Served) -> httpx.Response:
    run = served.submit().json()["id"]
    return served.client.get(f"/v1/runs/{run}/model", headers=served.headers())


def two_authorizations(served: Served) -> httpx.Response:
    key = served.headers()["Authorization"].encode()
    return served.client.get("/v1/runs", headers=[(b"Authorization", key)] * 2)


def long_header(served: Served) -> httpx.Response:
    return served.client.get("/v1/runs", headers=served.headers() | {"X": "x" * 20_000})


OVER_HTTP: list[tuple[Case, type[SpinMLError], str]] = [
    (wrong_key, errors.AuthenticationError, "get /v1/runs"),
    (expired_key, errors.ExpiredKeyError, "get /v1/runs"),
    (revoked_key, errors.RevokedKeyError, "get /v1/runs"),
    (scope_missing, errors.ScopeMissingError, "get /v1/runs"),
    (over_quota, errors.QuotaExceededError, "post /v1/runs"),
    (over_a_quota_that_renews, errors.QuotaSpentError, "post /v1/runs"),
    (over_rate, errors.RateLimitedError, "get /v1/runs"),
    (unknown_run, errors.NotFoundError, "get /v1/runs/{run_id}"),
    (run_of_another_tenant, errors.NotFoundError, "get /v1/runs/{run_id}"),
    (malformed_multipart, errors.MalformedMultipartError, "post /v1/runs"),
    (undeclared_part, errors.UndeclaredPartError, "post /v1/runs"),
    (missing_part, errors.MalformedBundleError, "post /v1/runs"),
    (json_with_equal_keys, errors.ManifestJsonError, "post /v1/runs"),
    (polyglot, errors.ImageFormatError, "post /v1/runs"),
    (image_bomb, errors.BundleLimitError, "post /v1/runs"),
    (photo_as_edges, errors.PreferenceViolationError, "post /v1/runs"),
    (body_over_the_cap, errors.PayloadTooLargeError, "post /v1/runs"),
    (request_without_classes, errors.InvalidRequestError, "post /v1/runs"),
    (same_key_for_another_bundle, errors.ConflictError, "post /v1/runs"),
    (model_of_a_run_that_waits, errors.NotReadyError, "get /v1/runs/{run_id}/model"),
    (two_authorizations, errors.MalformedRequestError, "get /v1/runs"),
    (long_header, errors.HeadersTooLargeError, "get /v1/runs"),
]


@pytest.fixture
def served(config: ServerConfig, headers: Headers, state: ServiceState) -> Served:
    return Served(state, TestClient(create_app(state)), headers)


@pytest.fixture
def config(config: ServerConfig) -> ServerConfig:
    service = config.service.model_copy(update={"rates": RateConfig(requests_per_minute=20)})
    return config.model_copy(update={"service": service})


@pytest.mark.parametrize(
    ("case", "kind", "operation"), OVER_HTTP, ids=[case.__name__ for case, *_ in OVER_HTTP]
)
def test_over_http(served: Served, case: Case, kind: type[SpinMLError], operation: str) -> None:
    answer = case(served)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (kind.status, kind.code), answer.text
    assert error["message"]
    assert error["remedy"]
    if kind.status == 429:
        assert int(answer.headers["Retry-After"]) > 0
    method, path = operation.split()
    described = served.client.app.openapi()["paths"][path][method]["responses"]  # type: ignore[attr-defined]
    example = described[str(kind.status)]["content"]["application/json"]["examples"][kind.code]
    assert example["value"]["error"]["remedy"]


def test_classes_and_codes_are_distinct() -> None:
    kinds = [kind for _, kind, _ in OVER_HTTP if kind is not errors.NotFoundError]
    assert len(set(kinds)) == len(kinds)
    codes = [kind.code for kind in errors.all_errors()]
    assert len(set(codes)) == len(codes)


# At start --------------------------------------------------------------------------------


def unreachable_database(config: ServerConfig, folder: Path) -> None:
    url = SecretStr("postgresql+psycopg://user@127.0.0.1:1/none")
    store = StoreConfig(artifacts=config.store.artifacts, database=url)
    ServiceState.from_config(config.model_copy(update={"store": store}))


def unreachable_store(config: ServerConfig, folder: Path) -> None:
    elsewhere = {"artifacts": "s3://bucket/prefix", "s3_endpoint": "http://127.0.0.1:1"}
    store = StoreConfig(database=config.store.database, **elsewhere)
    ServiceState.from_config(config.model_copy(update={"store": store}))


def schema_of_another_version(config: ServerConfig, folder: Path) -> None:
    open_database(config).close()
    change(
        config.store.database.get_secret_value(), "UPDATE alembic_version SET version_num = '9999'"
    )
    ServiceState.from_config(config)


def unknown_and_contradictory_fields(config: ServerConfig, folder: Path) -> None:
    path = folder / "config.yaml"
    path.write_text(
        "colour: blue\n"
        "service: {port: -1, rates: {counters: redis}}\n"
        "store: {database: 'sqlite:///x.db', database_file: y}\n"
    )
    load_config(path)


def checkpoint_without_a_part(config: ServerConfig, folder: Path) -> None:
    whole = make_tiny_checkpoint(folder / "tiny")
    shutil.rmtree(whole / "vae")
    Checkpoint.load(CheckpointConfig(base=str(whole), resolution_px=64))


AT_START: list[tuple[Callable[[ServerConfig, Path], None], type[SpinMLError], list[str]]] = [
    (unreachable_database, errors.DatabaseUnavailableError, ["database"]),
    (unreachable_store, errors.StoreUnavailableError, ["store"]),
    (schema_of_another_version, errors.SchemaVersionError, ["9999"]),
    (
        unknown_and_contradictory_fields,
        errors.ConfigError,
        ["colour", "service.port", "service.rates", "database and database_file"],
    ),
    (checkpoint_without_a_part, errors.CheckpointError, ["vae"]),
]


@pytest.mark.parametrize(
    ("start", "kind", "told"), AT_START, ids=[start.__name__ for start, *_ in AT_START]
)
def test_at_start(
    config: ServerConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    start: Callable[[ServerConfig, Path], None],
    kind: type[SpinMLError],
    told: list[str],
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    with pytest.raises(kind) as caught:
        start(config, tmp_path)
    assert type(caught.value) is kind
    assert caught.value.remedy
    for word in told:
        assert word in caught.value.message


@pytest.fixture
def state(config: ServerConfig) -> Any:
    state = ServiceState.from_config(config)
    for tenant in ("anna", "bert"):
        create_tenant(state.database, tenant)
    yield state
    state.database.close()
