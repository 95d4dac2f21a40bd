"""Our own API and its page: the resources of the framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

import qanat
from qanat.api import errors
from qanat.api.errors import ErrorBody, error_response
from qanat.api.page import OPENAPI
from qanat.api.routes import (
    apply,
    bindings,
    handlers,
    metrics,
    openapi,
    peers,
    rules,
    servers,
    services,
    status,
    tunnels,
)
from qanat.control.errors import InvalidRequest

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from qanat.compiler.control import ControlEndpoint
    from qanat.control.gateway import LiveGateway

_ABOUT = "Virtual servers, rules and tunnels of a running gateway: see, add and remove them."


def create_resources(gateway: LiveGateway, endpoint: ControlEndpoint) -> FastAPI:
    """Make the framework's application of an endpoint."""
    app = FastAPI(
        title="Qanat",
        version=qanat.__version__,
        description=_ABOUT,
        openapi_url=OPENAPI,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    errors.install(app)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.include_router(servers.router(gateway))
    app.include_router(handlers.router(gateway))
    app.include_router(rules.router(gateway))
    for part in (tunnels, services, bindings, peers, apply):
        app.include_router(part.router(gateway))
    app.include_router(status.router(gateway))
    app.include_router(metrics.router(gateway))
    app.include_router(openapi.router(endpoint.doc_location.rstrip("/")))
    openapi.install(app, endpoint.legacy_location)
    return app


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    """Answer when a part of the path or of the query is none of the words that there are."""
    faults = error.errors() if isinstance(error, RequestValidationError) else ()
    where = ".".join(str(part) for part in faults[0]["loc"][1:]) if faults else request.url.path
    message = str(faults[0]["msg"]) if faults else ""
    return error_response(422, ErrorBody(InvalidRequest.code, message, where))
