"""ASGI middleware below every route: request ids, the last resort for errors, the body cap."""

from __future__ import annotations

import logging
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spinml.errors import PayloadTooLargeError
from spinml.logs import bound, describe

REQUEST_ID_HEADER = "X-Request-Id"
_log = logging.getLogger(__name__)


class RequestIdMiddleware:
    """Gives each request an id, and turns what nobody expected into a bare 500 that names it.

    The log gets the error's type and the places in the code: its message may hold what is private.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            with bound(request=request_id):
                await self.app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - the boundary: nothing may pass with its message
            _log.error("request %s: unexpected %s", request_id, describe(error))
            if started:  # the answer is under way: break it off, so that it is not taken for whole
                raise ConnectionAbortedError(f"request {request_id} failed midway") from None
            answer = {
                "error": {
                    "code": "internal",
                    "message": "something unexpected failed in the server",
                    "remedy": "tell the operator the request id",
                    "details": {},
                },
                "request_id": request_id,
            }
            await JSONResponse(answer, status_code=500)(scope, receive, send_with_id)


class BodyCapMiddleware:
    """Refuses a body over the cap before it is parsed.

    A declared length is refused at the first read, anything else as soon as it has gone over; the
    routes read no body before the key was checked.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self.app = app
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        seen = int(declared) if declared.isdecimal() else 0
        counted = 0

        async def receive_capped() -> Message:
            nonlocal counted
            if seen > self.max_body_bytes:
                raise self._too_large()
            message = await receive()
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
