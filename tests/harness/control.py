"""The control API without sockets: requests go straight to the application of an endpoint."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx

from qanat.api.app import create_app
from qanat.compiler.control import ControlEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qanat.control.gateway import LiveGateway

LOOPBACK = ControlEndpoint("127.0.0.1:8081")


@asynccontextmanager
async def control_client(
    gateway: LiveGateway, endpoint: ControlEndpoint = LOOPBACK
) -> AsyncIterator[httpx.AsyncClient]:
    """Open a client of the endpoint's application."""
    transport = httpx.ASGITransport(create_app(gateway, endpoint))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8081") as client:
        yield client
