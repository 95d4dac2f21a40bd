"""The application that serves one control address.

NJet's API and the door stand in front of the framework, which is loaded when somebody first asks
for what it serves: a start, and changes over NJet's API, do not wait for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.middleware.errors import ServerErrorMiddleware

from qanat.api.auth import Door
from qanat.api.errors import on_fault
from qanat.api.identity import Identity
from qanat.api.menet import MenetApi
from qanat.api.njet import NjetApi
from qanat.api.page import public_paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from qanat.compiler.control import ControlEndpoint
    from qanat.control.gateway import LiveGateway


def create_app(gateway: LiveGateway, endpoint: ControlEndpoint) -> ASGIApp:
    """Make the application of an endpoint: who answers, who may ask, and what is asked."""

    def make() -> ASGIApp:
        from qanat.api.resources import create_resources  # noqa: PLC0415 - see the module

        return create_resources(gateway, endpoint)

    legacy = endpoint.legacy_location.rstrip("/")
    resources = Below(Late(make), location=legacy, below=NjetApi(gateway, legacy))
    tunnels = MenetApi(resources, gateway.tunnels)
    public = public_paths(endpoint.doc_location.rstrip("/"))
    door = Door(tunnels, endpoint=endpoint, public=public)
    return Identity(ServerErrorMiddleware(door, handler=on_fault))


class Late:
    """An application that is made when it is first asked, in a thread: the loop goes on."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        async with self._making:
            if self._app is None:
                self._app = await asyncio.to_thread(self._make)
        await self._app(scope, receive, send)


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
