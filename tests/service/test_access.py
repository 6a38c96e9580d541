"""Who may see what, and what the errors look like."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import OperationalError

from spinml.service.app import create_app
from spinml.service.database import Database
from spinml.service.keys import create_key, list_keys, revoke_key
from spinml.service.models import Scope
from spinml.service.state import ServiceState
from tests.service import bundles
from tests.service.conftest import Headers
from tests.service.test_submit import refuses, send

RUN_ROUTES = [
    ("GET", ""),
    ("GET", "/events"),
    ("GET", "/model"),
    ("GET", "/dataset"),
    ("GET", "/embeddings"),
    ("GET", "/report"),
    ("POST", "/cancel"),
    ("DELETE", ""),
]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic YTpi"},
        bearer("spin_0123456789ab_" + "x" * 43),
        bearer("x" * 10_000),
        {"Authorization": b"Bearer \xff\xfe"},
    ],
)
def test_no_key_or_a_wrong_one(client: TestClient, header: dict[str, str]) -> None:
    for method, path in [("GET", "/v1/runs"), ("POST", "/v1/runs"), ("GET", "/v1/runs/x/model")]:
        answer = client.request(method, path, headers=header)
        refuses(answer, 401, "authentication_failed")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_wrong_secret_expired_revoked(client: TestClient, state: ServiceState) -> None:
    good = create_key(state.database, "anna")
    assert client.get("/v1/runs", headers=bearer(good)).status_code == 200
    wrong = good[:-1] + ("A" if good[-1] != "A" else "B")
    expired = create_key(state.database, "anna", valid_for=timedelta(seconds=-1))
    refuses(client.get("/v1/runs", headers=bearer(wrong)), 401, "authentication_failed")
    refuses(client.get("/v1/runs", headers=bearer(expired)), 401, "key_expired")
    revoke_key(state.database, good.split("_")[1])
    answer = client.get("/v1/runs", headers=bearer(good))
    refuses(answer, 401, "key_revoked")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_who_lacks_the_secret_is_not_told_that_the_key_was_revoked(
    client: TestClient, state: ServiceState
) -> None:
    key = create_key(state.database, "anna")
    revoke_key(state.database, key.split("_")[1])
    guessed = "_".join([*key.split("_")[:2], "x" * 43])
    unknown = bearer("spin_0123456789ab_" + "x" * 43)
    answers = [client.get("/v1/runs", headers=headers) for headers in (bearer(guessed), unknown)]
    for answer in answers:
        refuses(answer, 401, "authentication_failed")
    assert answers[0].json()["error"] == answers[1].json()["error"]


NEEDED = {
    ("GET", "/v1/runs"): Scope.READ,
    ("GET", "/v1/runs/RUN"): Scope.READ,
    ("GET", "/v1/runs/RUN/events"): Scope.READ,
    ("GET", "/v1/quota"): Scope.READ,
    ("POST", "/v1/runs"): Scope.SUBMIT,
    ("POST", "/v1/runs/RUN/cancel"): Scope.SUBMIT,
    ("GET", "/v1/runs/RUN/model"): Scope.RESULTS,
    ("GET", "/v1/runs/RUN/dataset"): Scope.RESULTS,
    ("GET", "/v1/runs/RUN/embeddings"): Scope.RESULTS,
    ("GET", "/v1/runs/RUN/report"): Scope.RESULTS,
    ("GET", "/v1/receipts"): Scope.DELETE,
    ("DELETE", "/v1/runs/RUN"): Scope.DELETE,
}


def test_each_route_needs_its_scope_and_no_other(
    client: TestClient, headers: Headers, state: ServiceState
) -> None:
    run_id = send(client, headers("anna"), bundles.bundle().to_parts()).json()["id"]
    client.post(f"/v1/runs/{run_id}/cancel", headers=headers("anna"))  # so that its events end
    for scope in Scope:
        has = bearer(create_key(state.database, "anna", scopes=[scope]))
        lacks = bearer(create_key(state.database, "anna", scopes=set(Scope) - {scope}))
        for (method, route), needed in NEEDED.items():
            if needed is not scope:
                continue
            path = route.replace("RUN", run_id)
            answer = client.request(method, path, headers=lacks)
            refuses(answer, 403, "scope_missing")
            assert answer.json()["error"]["details"] == {"missing": [scope.value]}
            assert client.request(method, path, headers=has).status_code not in (401, 403), route


def test_a_missing_scope_does_not_tell_whether_a_run_exists(
    client: TestClient, headers: Headers, state: ServiceState
) -> None:
    run_id = send(client, headers("anna"), bundles.bundle().to_parts()).json()["id"]
    lacks = bearer(create_key(state.database, "bert", scopes=[Scope.SUBMIT]))
    answers = [client.get(f"/v1/runs/{name}", headers=lacks) for name in (run_id, uuid.uuid4())]
    for answer in answers:
        refuses(answer, 403, "scope_missing")
    assert answers[0].json()["error"] == answers[1].json()["error"]


def test_the_database_holds_no_secret(state: ServiceState) -> None:
    key = create_key(state.database, "anna", label="phone")
    (row,) = list_keys(state.database, "anna")
    assert row.secret_hash.startswith("$argon2id$")
    assert key.split("_", 2)[2] not in row.secret_hash


def test_the_key_is_checked_before_the_body_is_read(state: ServiceState) -> None:
    app = create_app(state)
    with TestClient(app) as client:
        answer = client.post("/v1/runs", content=(bytes(100_000) for _ in range(100)))
    refuses(answer, 401, "authentication_failed")


@pytest.mark.parametrize(("method", "path"), RUN_ROUTES)
def test_another_tenants_run_is_one_that_does_not_exist(
    client: TestClient, headers: Headers, method: str, path: str
) -> None:
    run_id = send(client, headers("anna"), bundles.bundle().to_parts()).json()["id"]
    answers = [
        client.request(method, f"/v1/runs/{name}{path}", headers=headers("bert"))
        for name in (run_id, uuid.uuid4(), "no-uuid", "%00")
    ]
    for answer in answers:
        refuses(answer, 404, "not_found")
    assert len({str(answer.json()["error"]) for answer in answers}) == 1
    assert client.get(f"/v1/runs/{run_id}", headers=headers("anna")).json()["state"] == "queued"


def test_lists_hold_ones_own_runs_by_pages(client: TestClient, headers: Headers) -> None:
    parts = bundles.bundle().to_parts()
    made = [send(client, headers(), parts, str(n)).json()["id"] for n in range(5)]
    send(client, headers("bert"), parts)
    seen, after = [], {}
    for size in (2, 2, 1):
        page = client.get("/v1/runs", params={"limit": 2, **after}, headers=headers()).json()
        assert len(page["runs"]) == size
        seen += [run["id"] for run in page["runs"]]
        after = {"after": page["next"]}
    assert after == {"after": None}
    assert seen == made[::-1]


@pytest.mark.parametrize("query", ["limit=0", "limit=1000", "limit=many", "limits=5", "=x"])
def test_bad_page(client: TestClient, headers: Headers, query: str) -> None:
    refuses(client.get(f"/v1/runs?{query}", headers=headers()), 422, "invalid_request")


def test_unknown_routes_and_methods_have_the_same_shape(client: TestClient) -> None:
    refuses(client.get("/nowhere"), 404, "no_such_route")
    refuses(client.delete("/healthz"), 405, "method_not_allowed")


def test_an_unexpected_error_tells_nothing(
    state: ServiceState, headers: Headers, caplog: pytest.LogCaptureFixture
) -> None:
    app: FastAPI = create_app(state)

    @app.get("/broken")
    def broken() -> None:
        raise ValueError("a person's words")

    with caplog.at_level(logging.DEBUG), TestClient(app) as client:
        answer = client.get("/broken")
    refuses(answer, 500, "internal")
    assert answer.json()["request_id"] in caplog.text
    assert "words" not in answer.text + caplog.text


def test_a_database_that_fails_is_503(
    client: TestClient, headers: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = headers()

    def fails(self: Database) -> object:
        raise OperationalError("SELECT words", {}, Exception("gone"))

    monkeypatch.setattr(Database, "read", fails)
    answer = client.get("/v1/runs", headers=sent)
    refuses(answer, 503, "database_unavailable")
    assert answer.headers["Retry-After"]
    assert "words" not in answer.text


def test_health_needs_no_key(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    answer = client.get("/readyz")  # tests/service/test_health.py has what it tests
    refuses(answer, 503, "server_unavailable")
    assert answer.headers["Retry-After"]
