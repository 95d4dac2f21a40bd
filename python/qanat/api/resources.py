"""Our own API and its page: the resources of the framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

import qanat
from qanat.api import errors
from qanat.api.page import OPENAPI
from qanat.api.routes import handlers, openapi, rules, servers, status

if TYPE_CHECKING:
    from qanat.compiler.control import ControlEndpoint
    from qanat.control.gateway import LiveGateway

_ABOUT = "Virtual servers and rules of a running gateway: see them, add and remove them."


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
    app.include_router(servers.router(gateway))
    app.include_router(handlers.router(gateway))
    app.include_router(rules.router(gateway))
    app.include_router(status.router(gateway))
    app.include_router(openapi.router(endpoint.doc_location.rstrip("/")))
    openapi.install(app, endpoint.legacy_location)
    return app
