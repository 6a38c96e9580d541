"""ASGI middleware around all others: request ids, rates, and the last resort for errors."""

from __future__ import annotations

import logging
import uuid

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spinml.logs import bound, describe

REQUEST_ID_HEADER = "X-Request-Id"
_log = logging.getLogger(__name__)


class RequestIdMiddleware:
    """Gives each request an id, tells its key's rates, and turns the unexpected into a bare 500.

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
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                headers.update(scope["state"].get("rate_headers", {}))
            await send(message)

        try:
            with bound(request=request_id):
                await self.app(scope, receive, send_with_id)
        except ClientDisconnect:  # within its body: nobody is there to be told
            _log.info("request %s: its sender went away", request_id)
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
