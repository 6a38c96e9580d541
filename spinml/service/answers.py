"""Every error as one shape, and the documentation of which a route can answer with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from spinml.errors import (
    ArtifactError,
    AuthenticationError,
    DatabaseUnavailableError,
    ExpiredKeyError,
    HeadersTooLargeError,
    InvalidRequestError,
    MalformedRequestError,
    OverloadedError,
    RateLimitedError,
    RateStoreUnavailableError,
    RevokedKeyError,
    ScopeMissingError,
    SpinMLError,
    StorageFullError,
    StoreUnavailableError,
)
from spinml.service.database import UNAVAILABLE, unavailable
from spinml.service.error_docs import MEANINGS

RETRY_AFTER_S = 2
STORE_ERRORS = frozenset({ArtifactError, StorageFullError, StoreUnavailableError})
"""What a route that uses the artifact store may answer with."""


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error with an :class:`spinml.service.schemas.ErrorAnswer`."""

    @app.exception_handler(SpinMLError)
    async def on_spinml(request: Request, error: SpinMLError) -> JSONResponse:
        return error_response(request.scope, error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        ]
        message = "the request is not valid: " + "; ".join(problems)
        return error_response(
            request.scope, InvalidRequestError(message, details={"problems": problems})
        )

    async def on_database(request: Request, error: Exception) -> JSONResponse:
        return error_response(request.scope, unavailable(error))

    for kind in UNAVAILABLE:
        app.add_exception_handler(kind, on_database)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "no_such_route", 405: "method_not_allowed"}.get(error.status_code, "http")
        body = SpinMLError(f"HTTP {error.status_code}", remedy="see /docs").as_dict()
        headers = dict(error.headers or {})
        return _json(request.scope, error.status_code, body | {"code": code}, headers)


_SCHEMA = {"$ref": "#/components/schemas/ErrorAnswer"}
_CONTENT = {"application/json": {"schema": _SCHEMA}}
_EVERY_ROUTE = (HeadersTooLargeError, MalformedRequestError)
_EVERY_KEYED_ROUTE = (
    AuthenticationError,
    DatabaseUnavailableError,
    ExpiredKeyError,
    InvalidRequestError,
    OverloadedError,
    RateLimitedError,
    RateStoreUnavailableError,
    RevokedKeyError,
    ScopeMissingError,
)


def documented(
    errors: Iterable[type[SpinMLError]], *, keyed: bool = True
) -> dict[int | str, dict[str, Any]]:
    """OpenAPI ``responses`` for ``errors``.

    Args:
        keyed: add what every route behind a key may answer with.
    """
    every: set[type[SpinMLError]] = {
        *errors,
        *_EVERY_ROUTE,
        *(_EVERY_KEYED_ROUTE if keyed else ()),
    }
    by_status: dict[int | str, dict[str, Any]] = {}
    for kind in sorted(every, key=_order):
        entry = by_status.setdefault(
            kind.status,
            {
                "description": "",
                "headers": _headers(kind),
                "content": {"application/json": {"schema": _SCHEMA, "examples": {}}},
            },
        )
        why, remedy = MEANINGS[kind]
        entry["description"] = f"{entry['description']}, `{kind.code}`".lstrip(", ")
        error = {"code": kind.code, "message": why, "remedy": remedy, "details": {}}
        example = {"summary": why, "value": {"error": error, "request_id": "…"}}
        entry["content"]["application/json"]["examples"][kind.code] = example
    internal = by_status.setdefault(500, {"description": "", "content": _CONTENT})
    internal["description"] = f"{internal['description']}, `internal`".lstrip(", ")
    return by_status


def _order(kind: type[SpinMLError]) -> tuple[int, str]:
    return kind.status, kind.code


def _headers(kind: type[SpinMLError]) -> dict[str, Any]:
    names = {401: "WWW-Authenticate", 429: "Retry-After", 503: "Retry-After"}
    if kind.status not in names:
        return {}
    return {names[kind.status]: {"schema": {"type": "string"}}}


def error_response(scope: Scope, error: SpinMLError) -> JSONResponse:
    """The answer to ``error``; one without a remedy gets its class's."""
    headers = {}
    if isinstance(error, AuthenticationError):
        headers["WWW-Authenticate"] = "Bearer"
    if error.status in (429, 503):
        headers["Retry-After"] = str(error.details.get("retry_after_s", RETRY_AFTER_S))
    told = error.as_dict()
    if not error.remedy and type(error) in MEANINGS:
        told["remedy"] = MEANINGS[type(error)].remedy
    return _json(scope, error.status, told, headers)


def _json(
    scope: Scope, status: int, error: dict[str, Any], headers: dict[str, str]
) -> JSONResponse:
    content = {"error": error, "request_id": scope.get("state", {}).get("request_id")}
    return JSONResponse(content, status_code=status, headers=headers)
