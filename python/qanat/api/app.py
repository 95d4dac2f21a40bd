"""The application that serves one control address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

import qanat
from qanat.api import errors
from qanat.api.auth import Door
from qanat.api.identity import Identity
from qanat.api.njet import NjetApi
from qanat.api.routes import openapi, servers, status

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from qanat.compiler.control import ControlEndpoint
    from qanat.control.gateway import LiveGateway

_ABOUT = "Virtual servers of a running gateway: see them, add and remove them."


def create_app(gateway: LiveGateway, endpoint: ControlEndpoint) -> FastAPI:
    """Make the application of an endpoint: our API, its page, and NJet's API."""
    app = FastAPI(
        title="Qanat",
        version=qanat.__version__,
        description=_ABOUT,
        openapi_url=openapi.OPENAPI,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    errors.install(app)
    app.include_router(servers.router(gateway))
    app.include_router(status.router(gateway))
    doc = endpoint.doc_location.rstrip("/")
    app.include_router(openapi.router(doc))
    openapi.install(app, endpoint.legacy_location)
    # The last one added is the first to see a request.
    legacy = endpoint.legacy_location.rstrip("/")
    app.add_middleware(Below, location=legacy, below=NjetApi(gateway, legacy))
    app.add_middleware(Door, endpoint=endpoint, public=openapi.public_paths(doc))
    app.add_middleware(Identity)
    return app


class Below:
    """Sends what lies at or below a location to an application of its own."""

    def __init__(self, app: ASGIApp, location: str, below: ASGIApp) -> None:
        self._app = app
        self._location = location
        self._prefix = location + "/"
        self._below = below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to one or the other."""
        if scope["type"] == "http":
            path: str = scope["path"]
            if path.startswith(self._prefix) or path == self._location:
                await self._below(scope, receive, send)
                return
        await self._app(scope, receive, send)
