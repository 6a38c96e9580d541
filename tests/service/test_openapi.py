"""The OpenAPI document: valid, complete, and true about errors."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from fastapi.testclient import TestClient

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
        ("post /v1/runs", "400", {"malformed_bundle"}),
        ("post /v1/runs", "401", {"authentication_failed", "key_expired", "key_revoked"}),
        ("post /v1/runs", "403", {"scope_missing", "quota_exceeded"}),
        ("post /v1/runs", "409", {"conflict"}),
        ("post /v1/runs", "413", {"bundle_limit", "payload_too_large"}),
        ("post /v1/runs", "422", {"invalid_request", "preference_violation", "unknown_feature"}),
        ("post /v1/runs", "429", {"quota_spent"}),
        ("post /v1/runs", "503", {"server_unavailable"}),
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
        jsonschema.validate(example["value"]["error"], schema)


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
