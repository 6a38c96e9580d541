"""The OpenAPI document: valid, complete, and true about errors."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from fastapi.testclient import TestClient

from spinml.errors import all_errors
from spinml.service.models import Scope

METHODS = {"get", "post", "delete", "put", "patch"}


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    return dict(client.get("/openapi.json").json())


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.")
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert all(answer["description"] for answer in operation["responses"].values()), name
        if "/v1/" in name:
            ((scheme, scopes),) = operation["security"][0].items()
            assert scheme == "ApiKey", name
            assert scopes, name
            assert set(scopes) <= set(Scope), name
            assert "scope_missing" in str(operation["responses"]["403"]), name
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert names <= set(document["components"]["schemas"])
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("operation", "status", "codes"),
    [
        (
            "post /v1/runs",
            "400",
            {
                "image_format",
                "malformed_bundle",
                "malformed_multipart",
                "malformed_request",
                "manifest_json",
                "undeclared_part",
            },
        ),
        ("post /v1/runs", "408", {"body_timeout"}),
        ("post /v1/runs", "431", {"headers_too_large"}),
        ("post /v1/runs", "401", {"authentication_failed", "key_expired", "key_revoked"}),
        ("post /v1/runs", "403", {"scope_missing", "quota_exceeded"}),
        ("post /v1/runs", "409", {"conflict"}),
        ("post /v1/runs", "413", {"bundle_limit", "payload_too_large"}),
        ("post /v1/runs", "422", {"invalid_request", "preference_violation", "unknown_feature"}),
        ("post /v1/runs", "429", {"quota_spent", "rate_limited"}),
        (
            "post /v1/runs",
            "503",
            {"database_unavailable", "overloaded", "rate_store_unavailable", "server_unavailable"},
        ),
        ("get /v1/runs", "429", {"rate_limited"}),
        ("get /readyz", "503", {"server_unavailable"}),
        ("get /v1/runs/{run_id}", "404", {"not_found"}),
        ("get /v1/runs/{run_id}/model", "409", {"not_ready"}),
        ("post /v1/runs/{run_id}/cancel", "409", {"conflict"}),
        ("delete /v1/runs/{run_id}", "409", {"conflict"}),
    ],
)
def test_error_codes_stand_where_they_occur(
    document: dict[str, Any], operation: str, status: str, codes: set[str]
) -> None:
    answer = dict(operations(document))[operation]["responses"][status]
    content = answer["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/ErrorAnswer"}
    assert codes <= set(content["examples"])
    for example in content["examples"].values():
        schema = document["components"]["schemas"]["ErrorInfo"]
        error = example["value"]["error"]
        jsonschema.validate(error, schema)
        kinds = {kind.code: kind for kind in all_errors()}
        assert str(kinds[error["code"]].status) == status
        assert len(error["message"]) > 10
        assert len(error["remedy"]) > 10


def test_the_multipart_body_is_described(document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/runs"]["post"]["requestBody"]
    schema = body["content"]["multipart/form-data"]["schema"]
    assert schema["required"] == ["manifest"]
    assert schema["additionalProperties"]["contentMediaType"] == "image/png"


def test_events_are_described(document: dict[str, Any]) -> None:
    answer = document["paths"]["/v1/runs/{run_id}/events"]["get"]["responses"]["200"]
    assert "text/event-stream" in answer["content"]
    assert {"StateEvent", "StageEvent"} <= set(document["components"]["schemas"])


def test_only_one_shape_of_error_is_promised(document: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in str(document)
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                schema = answer["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, name
