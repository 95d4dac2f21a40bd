"""`/v1/peers`: who this gateway is to others, and the gateways that it knows or is connected to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from qanat.api.responses import as_json, describe
from qanat.control.tunnel_views import peers_view

if TYPE_CHECKING:
    from qanat.control.gateway import LiveGateway


def router(gateway: LiveGateway) -> APIRouter:
    """Make the routes of this resource."""
    routes = APIRouter(prefix="/v1/peers", tags=["tunnels"])

    @routes.get("", response_class=Response, responses=describe("PeersView"))
    async def list_peers() -> Response:
        """Show the public key of this gateway, and the gateways that it knows or that are there."""
        return as_json(peers_view(gateway.state, gateway.engine))

    return routes
