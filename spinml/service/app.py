"""The FastAPI application: what Ray Serve wraps and what tests call in their own process."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from spinml import __version__
from spinml.service import account_routes, follow_routes, health_routes, result_routes, run_routes
from spinml.service.admission import AdmissionMiddleware, Uploads
from spinml.service.answers import add_error_handlers
from spinml.service.guard import BodyMiddleware, GuardMiddleware
from spinml.service.health import Readiness
from spinml.service.listeners import Listeners
from spinml.service.middleware import RequestIdMiddleware
from spinml.service.schemas import ErrorAnswer, StageEvent, StateEvent
from spinml.service.state import ServiceState

_DESCRIPTION = """\
Takes sanitized bundles, fine-tunes a diffusion model on them, generates a labelled dataset, trains
a specialised model on that and gives it back. Every answer that is no success has the shape of
`ErrorAnswer`; its `code` is stable. Another tenant's run answers like one that does not exist.
"""


def create_app(state: ServiceState) -> FastAPI:
    """The application over ``state``."""
    app = FastAPI(
        title="SpinML",
        version=__version__,
        summary="Small private vision models, trained from what you choose to share.",
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.service = state
    app.state.readiness = Readiness.of(state)
    service = state.config.service
    app.state.listeners = Listeners.of(state.database, service.load)
    app.state.uploads = Uploads(most_per_tenant=service.load.max_uploads_per_tenant)
    app.add_middleware(
        BodyMiddleware,
        max_body_bytes=service.limits.max_body_bytes,
        timeout_s=service.body_timeout_s,
        pause_s=service.body_pause_s,
    )
    app.add_middleware(GuardMiddleware)
    app.add_middleware(AdmissionMiddleware, max_requests=service.load.max_requests)
    app.add_middleware(RequestIdMiddleware)
    add_error_handlers(app)
    for module in (run_routes, follow_routes, result_routes, account_routes, health_routes):
        app.include_router(module.router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with the models that are only referred to: errors and events."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        _, named = models_json_schema(
            [(model, "serialization") for model in (ErrorAnswer, StageEvent, StateEvent)],
            ref_template="#/components/schemas/{model}",
        )
        document["components"]["schemas"].update(named["$defs"])
    return app.openapi_schema or {}
