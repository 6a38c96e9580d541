"""Who asks: a bearer key → a tenant."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from spinml.service.keys import refused
from spinml.service.state import ServiceState

_bearer = HTTPBearer(
    scheme_name="ApiKey",
    bearerFormat="spin_<id>_<secret>",
    description="An API key; `spinml admin key create` makes one.",
    auto_error=False,
)


def current_state(request: Request) -> ServiceState:
    """The state that the app was made with."""
    state = request.app.state.service
    if not isinstance(state, ServiceState):
        raise TypeError("the app was not made by create_app")
    return state


State = Annotated[ServiceState, Depends(current_state)]


def current_tenant(
    state: State,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str:
    """The tenant of the request's key.

    Raises:
        AuthenticationError: no key, or one that does not work.
    """
    if credentials is None:
        raise refused()
    return state.keys.tenant_of(credentials.credentials)


CurrentTenant = Annotated[str, Depends(current_tenant)]
