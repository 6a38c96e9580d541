"""The HTTP API's bytes on the device's side: what is sent, and what answers and errors say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx
import httpx_sse
from pydantic import BaseModel, ValidationError

from spinml.bundle import MANIFEST_PART, SanitizedBundle
from spinml.device.patience import RETRIED_ERRORS
from spinml.errors import (
    QuotaSpentError,
    ServerUnavailableError,
    ServiceError,
    SpinMLError,
    error_from_dict,
)

Told = TypeVar("Told", bound=BaseModel)
_RETRIED_STATUSES = (408, 429, 502, 503, 504)
_PROXY_STATUSES = (404, 500)
"""Of a proxy whose service is just being started, or whose replica died under the request."""


def encode_multipart(bundle: SanitizedBundle) -> tuple[bytes, str]:
    """The body of ``POST /v1/runs`` and its content type.

    The boundary comes from the bundle's digest: equal bundles make equal bytes, and what was sent
    can be compared byte by byte.
    """
    boundary = f"spinml-{bundle.digest[:40]}"
    pieces = []
    for name, content in bundle.to_parts().items():
        suffix, kind = (
            ("json", "application/json") if name == MANIFEST_PART else ("png", "image/png")
        )
        head = (
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="{name}"; filename="{name}.{suffix}"\r\n'
            f"Content-Type: {kind}\r\n\r\n"
        )
        pieces += [head.encode(), content, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces), f"multipart/form-data; boundary={boundary}"


@contextmanager
def mapped_errors() -> Iterator[None]:
    """httpx's errors as ours."""
    try:
        yield
    except (httpx.InvalidURL, httpx_sse.SSEError) as error:
        raise ServiceError(
            f"the server's address or answer is not SpinML's: {type(error).__name__}",
            remedy="check --server",
        ) from None
    except (httpx.TransportError, httpx.StreamError) as error:
        raise unavailable(
            f"the server cannot be reached or went away: {type(error).__name__}"
        ) from None


def raise_for_error(response: httpx.Response) -> None:
    """Raise the error that the server described, or one that names its status."""
    if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
        return
    response.read()
    error, is_ours = _described(response)
    retried = _RETRIED_STATUSES if is_ours else (*_RETRIED_STATUSES, *_PROXY_STATUSES)
    if response.status_code in retried and not isinstance(error, QuotaSpentError):
        if not isinstance(error, RETRIED_ERRORS):
            error = unavailable(error.message)
        if response.headers.get("Retry-After", "").isdigit():
            error.details["retry_after_s"] = int(response.headers["Retry-After"])
    raise error


def _described(response: httpx.Response) -> tuple[SpinMLError, bool]:
    """The error, and whether the service itself described it."""
    try:
        payload = response.json()
    except ValueError:
        payload = None
    if isinstance(payload, dict) and isinstance(payload.get("error"), dict):
        payload = payload["error"]
    if isinstance(payload, dict) and "code" in payload:
        return error_from_dict(payload), True
    answered = ServiceError(
        f"the server answered {response.status_code} {response.reason_phrase}",
        remedy="check --server; the server's log tells more",
    )
    return answered, False


def unavailable(message: str) -> ServerUnavailableError:
    """The error of a server that does not answer, with its remedy."""
    return ServerUnavailableError(message, remedy="try again later, or check --server")


def told(kind: type[Told], content: bytes, **more: str) -> Told:
    """Parse what the server told.

    Raises:
        ServiceError: it is not of the form that this version reads.
    """
    try:
        return kind.model_validate({**json.loads(content), **more})
    except (ValueError, TypeError, ValidationError):
        raise ServiceError(
            f"the server's answer is no {kind.__name__}", remedy="check --server and its version"
        ) from None
