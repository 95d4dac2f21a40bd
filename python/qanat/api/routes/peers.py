"""`/v1/peers`: who this gateway is to others, and the gateways that it knows or is connected to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.responses import Response

from qanat.api.bodies import read_body, with_body
from qanat.api.peer_bodies import PeerBody, PeerPatch
from qanat.api.responses import as_json, describe
from qanat.api.routes.rules import ChangeView
from qanat.control.errors import PeerNotFound
from qanat.control.peer_views import peer_view, peers_view
from qanat.control.tunnel_peers import patching_peer, putting_peer, removing_peer

if TYPE_CHECKING:
    from qanat.control.gateway import LiveGateway


def router(gateway: LiveGateway) -> APIRouter:
    """Make the routes of this resource."""
    routes = APIRouter(prefix="/v1/peers", tags=["tunnels"])
    _add_reading(routes, gateway)
    _add_changing(routes, gateway)
    return routes


def _add_reading(routes: APIRouter, gateway: LiveGateway) -> None:
    @routes.get("", response_class=Response, responses=describe("PeersView"))
    async def list_peers() -> Response:
        """Show the public key of this gateway, and the gateways that it knows or that are there."""
        return as_json(peers_view(gateway.state, gateway.engine))

    @routes.get("/{name}", response_class=Response, responses=describe("PeerView", 404))
    async def show_peer(name: str) -> Response:
        """Show one gateway that is known by its key."""
        found = peer_view(gateway.state, gateway.engine, name)
        if found is None:
            raise PeerNotFound(name)
        return as_json(found)


def _add_changing(routes: APIRouter, gateway: LiveGateway) -> None:
    @routes.put(
        "/{name}",
        response_class=Response,
        responses=describe("ChangeView", 400, 409, 413, 422, 503, 504),
        openapi_extra=with_body("PeerBody"),
    )
    async def put_peer(name: str, request: Request) -> Response:
        """Trust another gateway, and say what it may do here.

        What is no longer allowed ends at once: carriers of its tunnels, and streams of services.
        Everything else goes on.
        """
        wanted = await read_body(request, PeerBody)
        done = await gateway.change(putting_peer, name, wanted.spec())
        return as_json(ChangeView(done.revision, done.changed))

    @routes.patch(
        "/{name}",
        response_class=Response,
        responses=describe("ChangeView", 400, 404, 409, 413, 422, 503, 504),
        openapi_extra=with_body("PeerPatch"),
    )
    async def patch_peer(name: str, request: Request) -> Response:
        """Change some of the rules for a peer."""
        wanted = await read_body(request, PeerPatch)
        done = await gateway.change(patching_peer, name, wanted.fields())
        return as_json(ChangeView(done.revision, done.changed))

    @routes.delete(
        "/{name}",
        response_class=Response,
        responses=describe("ChangeView", 404, 409, 422, 503, 504),
    )
    async def delete_peer(name: str) -> Response:
        """Trust a gateway no longer; the carriers that it has proved by its key end at once."""
        done = await gateway.change(removing_peer, name)
        if not done.changed:
            raise PeerNotFound(name)
        return as_json(ChangeView(done.revision, done.changed))
