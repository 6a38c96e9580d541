"""How many requests a replica works on at once; one more is sent away at once.

Without a bound, a service that gets more than it can do answers everybody later and later. Here who
comes too many is told so in a moment, before its key or body cost anything, and when to try again.
An upload keeps its place for as long as it takes, so that each tenant has a part of them only.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spinml.errors import OverloadedError
from spinml.service.answers import error_response
from spinml.service.places import TenantPlaces

ALWAYS_TAKEN = ("/healthz", "/readyz")
"""Probes: they need no thread, and a replica that is busy must not be taken for dead."""


@dataclass
class _Ongoing:
    requests: int = 0


class Place:
    """A request's place among those at work; given back once, at the latest by its end."""

    def __init__(self, ongoing: _Ongoing) -> None:
        self._ongoing: _Ongoing | None = ongoing
        ongoing.requests += 1

    def leave(self) -> None:
        """Be counted no longer: what is left is waiting, for the client or for news."""
        if self._ongoing is not None:
            self._ongoing.requests -= 1
            self._ongoing = None


class Uploads(TenantPlaces):
    """The bodies that arrive just now."""

    def __init__(self, *, most_per_tenant: int) -> None:
        super().__init__(
            most_per_tenant,
            what="uploads of yours arrive",
            setting="max_uploads_per_tenant",
            remedy="try again after Retry-After",
        )


class AdmissionMiddleware:
    """Takes up to ``max_requests`` at once.

    A request counts until its answer begins: sending it, to a slow device or as events for hours,
    holds neither thread nor database. ``scope["state"]["place"]`` lets it leave before.
    """

    def __init__(self, app: ASGIApp, *, max_requests: int) -> None:
        self.app = app
        self.max_requests = max_requests
        self._ongoing = _Ongoing()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ALWAYS_TAKEN:
            await self.app(scope, receive, send)
            return
        if self._ongoing.requests >= self.max_requests:
            await error_response(scope, self._overloaded())(scope, receive, send)
            return
        place = Place(self._ongoing)
        scope.setdefault("state", {})["place"] = place

        async def send_and_leave(message: Message) -> None:
            place.leave()
            await send(message)

        try:
            await self.app(scope, receive, send_and_leave)
        finally:
            place.leave()

    def _overloaded(self) -> OverloadedError:
        return OverloadedError(
            f"{self.max_requests} requests are at work here, no more are taken at once",
            remedy="try again after Retry-After",
            details={"max_requests": self.max_requests},
        )
