"""Who asks, and for what: a bearer key with the scopes of the route → a tenant, and its run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from spinml.errors import InvalidRequestError
from spinml.service import runs
from spinml.service.admission import Uploads
from spinml.service.keys import refused
from spinml.service.listeners import Listeners
from spinml.service.models import Run, Scope
from spinml.service.rates import REQUESTS, SUBMISSIONS, headers_of
from spinml.service.state import ServiceState

Part = TypeVar("Part")
_bearer = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="spin_<id>_<secret>",
    description="An API key; `spinml admin key create` makes one.",
    auto_error=False,
)


def _of_app(name: str, kind: type[Part]) -> Callable[[Request], Part]:
    """What gives a route the part of the app's state that create_app named ``name``."""

    def current(request: Request) -> Part:
        part = getattr(request.app.state, name)
        if not isinstance(part, kind):
            raise TypeError("the app was not made by create_app")
        return part

    return current


State = Annotated[ServiceState, Depends(_of_app("service", ServiceState))]
AllListeners = Annotated[Listeners, Depends(_of_app("listeners", Listeners))]
"""All that listen in this process."""
AllUploads = Annotated[Uploads, Depends(_of_app("uploads", Uploads))]
"""All bodies that arrive in this process."""


def current_tenant(
    request: Request,
    needed: SecurityScopes,
    state: State,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str:
    """The tenant of the request's key, which has the scopes that the route needs.

    Raises:
        AuthenticationError: no key, or one that does not work.
        RateLimitedError: the key asks too often; told before its scopes are.
        ScopeMissingError: the key may not do this.
        InvalidRequestError: a query parameter that the route does not have.
    """
    if credentials is None:
        raise refused()
    caller = state.keys.caller(credentials.credentials)
    rates = [REQUESTS, *([SUBMISSIONS] if Scope.SUBMIT in needed.scopes else [])]
    request.state.rate_headers = headers_of(state.rates.count(caller.key_id, rates))
    caller.need(needed.scopes)
    _refuse_unknown_query(request)
    return caller.tenant


def _refuse_unknown_query(request: Request) -> None:
    """A misspelt parameter would be as good as none, and nobody would notice."""
    described = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
    known = {item["name"] for item in described.get("parameters", ()) if item["in"] == "query"}
    unknown = len(set(request.query_params) - known)
    if unknown:
        raise InvalidRequestError(
            f"{unknown} query parameter(s) that this route does not have",
            remedy=f"it has {', '.join(sorted(known))}" if known else "it has none",
            details={"known": sorted(known)},
        )


Reader = Annotated[str, Security(current_tenant, scopes=[Scope.READ])]
Submitter = Annotated[str, Security(current_tenant, scopes=[Scope.SUBMIT])]
Deleter = Annotated[str, Security(current_tenant, scopes=[Scope.DELETE])]


def current_run(state: State, tenant: Annotated[str, Security(current_tenant)], run_id: str) -> Run:
    """The run of the path, if it is the tenant's.

    Raises:
        NotFoundError: no such run of this tenant.
    """
    return runs.get_run(state.database, tenant, run_id)


SeenRun = Annotated[Run, Security(current_run, scopes=[Scope.READ])]
ResultsRun = Annotated[Run, Security(current_run, scopes=[Scope.RESULTS])]


async def listening(listeners: AllListeners, run: SeenRun) -> AsyncIterator[Listeners]:
    """A place among the listeners until the answer's end.

    Raises:
        OverloadedError, RateLimitedError: see :meth:`spinml.service.listeners.Listeners.place`.
    """
    with listeners.place(run.tenant_id):
        yield listeners


OwnListener = Annotated[Listeners, Depends(listening)]
