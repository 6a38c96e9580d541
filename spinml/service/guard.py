"""ASGI middleware: what is refused of a request before any of it is parsed.

Headers and address are bounded and unambiguous here, whatever server stands in front: where a proxy
and the service read one request as two different ones, another can be smuggled in.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spinml.errors import (
    BodyTimeoutError,
    HeadersTooLargeError,
    MalformedRequestError,
    PayloadTooLargeError,
    SpinMLError,
)
from spinml.service.answers import error_response

MAX_HEADERS = 64
MAX_HEADER_BYTES = 16_384
MAX_ADDRESS_BYTES = 8_192
_ONCE = (
    b"authorization",
    b"content-length",
    b"content-type",
    b"host",
    b"idempotency-key",
    b"last-event-id",
    b"transfer-encoding",
)
_LENGTH = re.compile(rb"[0-9]{1,15}")


class GuardMiddleware:
    """Refuses a request by its headers and address alone."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                check_request(scope)
            except SpinMLError as error:
                await error_response(scope, error)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def check_request(scope: Scope) -> None:
    """Return when headers and address are bounded and say one thing.

    Raises:
        HeadersTooLargeError: more or longer headers, or a longer address, than are taken.
        MalformedRequestError: a header that stands twice and may not, or a length that is none.
    """
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        raise HeadersTooLargeError(
            f"{len(headers)} headers of {size} bytes, at most {MAX_HEADERS} and "
            f"{MAX_HEADER_BYTES} are taken",
            remedy="send fewer and shorter ones",
        )
    address = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    if address > MAX_ADDRESS_BYTES:
        raise HeadersTooLargeError(
            f"an address of {address} bytes, at most {MAX_ADDRESS_BYTES} are taken",
            remedy="send a shorter one",
        )
    count = Counter(name.lower() for name, _ in headers)
    for name in _ONCE:
        if count[name] > 1:
            raise MalformedRequestError(f"the header {name.decode()} stands {count[name]} times")
    if count[b"content-length"] and count[b"transfer-encoding"]:
        raise MalformedRequestError("both a content-length and a transfer-encoding")
    length = next((value for name, value in headers if name.lower() == b"content-length"), b"0")
    if not _LENGTH.fullmatch(length):
        raise MalformedRequestError("the content-length is no number of bytes")


class BodyMiddleware:
    """Refuses a body over the cap, or too slow, as soon as that is known.

    A declared length is refused at the first read, anything else as soon as it has gone over; the
    routes read no body before the key was checked. After the body's end nothing is timed: a
    listener of events waits for hours.
    """

    def __init__(
        self, app: ASGIApp, *, max_body_bytes: int, timeout_s: float, pause_s: float
    ) -> None:
        """Args: timeout_s: for the whole body; pause_s: for its next piece."""
        self.app = app
        self.max_body_bytes = max_body_bytes
        self.timeout_s, self.pause_s = timeout_s, pause_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = int(dict(scope["headers"]).get(b"content-length", b"0"))
        counted, complete = 0, False
        ends_at: float | None = None

        async def receive_capped() -> Message:
            nonlocal counted, complete, ends_at
            if declared > self.max_body_bytes:
                raise self._too_large()
            if complete:
                return await receive()
            now = asyncio.get_running_loop().time()
            ends_at = ends_at or now + self.timeout_s
            try:
                async with asyncio.timeout_at(min(ends_at, now + self.pause_s)):
                    message = await receive()
            except TimeoutError:
                raise self._too_slow() from None
            complete = not message.get("more_body", False)
            counted += len(message.get("body", b""))
            if counted > self.max_body_bytes:
                raise self._too_large()
            return message

        await self.app(scope, receive_capped, send)

    def _too_large(self) -> PayloadTooLargeError:
        return PayloadTooLargeError(
            f"the body has more than the {self.max_body_bytes} bytes that are taken",
            remedy="send fewer or smaller photos",
            details={"max_body_bytes": self.max_body_bytes},
        )

    def _too_slow(self) -> BodyTimeoutError:
        return BodyTimeoutError(
            f"the body did not arrive within {self.timeout_s:g} s, or stopped for "
            f"{self.pause_s:g} s",
            remedy="send it again, over a better connection or with fewer photos",
        )
