"""`/v1/tunnels`: links to other gateways, dialled by this one or by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from qanat.api.bodies import read_body, with_body
from qanat.api.responses import as_json, describe
from qanat.api.routes.rules import ChangeView
from qanat.api.tunnel_bodies import TunnelBody, TunnelPatch, drain_seconds
from qanat.control.errors import TunnelNotFound
from qanat.control.tunnel_patches import patching_tunnel
from qanat.control.tunnel_views import TunnelStatus, tunnel_view, tunnels_view
from qanat.control.tunnels import putting_tunnel

if TYPE_CHECKING:
    from qanat.control.gateway import Done, LiveGateway


class TunnelChangeView(msgspec.Struct, frozen=True):
    """A tunnel that is stored, and dialled until it is up; `state` is how far it has come."""

    revision: int
    changed: bool
    state: TunnelStatus


def router(gateway: LiveGateway) -> APIRouter:
    """Make the routes of this resource."""
    routes = APIRouter(prefix="/v1/tunnels", tags=["tunnels"])
    _add_reading(routes, gateway)
    _add_changing(routes, gateway)
    return routes


def _add_reading(routes: APIRouter, gateway: LiveGateway) -> None:
    @routes.get("", response_class=Response, responses=describe("TunnelsView"))
    async def list_tunnels() -> Response:
        """List the tunnels with their states and counters."""
        return as_json(tunnels_view(gateway.state, gateway.engine))

    @routes.get("/{name}", response_class=Response, responses=describe("TunnelView", 404))
    async def show_tunnel(name: str) -> Response:
        """Show one tunnel."""
        found = tunnel_view(gateway.state, gateway.engine, name)
        if found is None:
            raise TunnelNotFound(name)
        return as_json(found)


def _add_changing(routes: APIRouter, gateway: LiveGateway) -> None:
    def answer(name: str, done: Done) -> Response:
        found = tunnel_view(gateway.state, gateway.engine, name)
        state: TunnelStatus = "connecting" if found is None else found.state
        view = TunnelChangeView(done.revision, done.changed, state)
        return as_json(view, 200 if state == "up" else 202)

    @routes.put(
        "/{name}",
        response_class=Response,
        responses=describe("TunnelChangeView", 400, 409, 413, 422, 503, 504, accepted=True),
        openapi_extra=with_body("TunnelBody"),
    )
    async def put_tunnel(name: str, request: Request) -> Response:
        """Dial a tunnel, and keep it up; while it is not, the answer is 202 and dialling goes on.

        One that is there already stays untouched; one with another `dest` or `peer` is replaced
        when the new one is up, and the streams of the old one have 30 seconds to end. One that is
        not up is dialled now, also if the other end had removed it.
        """
        wanted = await read_body(request, TunnelBody)
        done = await gateway.change(putting_tunnel, name, wanted.spec())
        gateway.tunnels.want(name)
        return answer(name, done)

    @routes.patch(
        "/{name}",
        response_class=Response,
        responses=describe("TunnelChangeView", 400, 404, 409, 413, 422, 503, 504, accepted=True),
        openapi_extra=with_body("TunnelPatch"),
    )
    async def patch_tunnel(name: str, request: Request) -> Response:
        """Change some fields of a tunnel that this gateway dials."""
        wanted = await read_body(request, TunnelPatch)
        return answer(name, await gateway.change(patching_tunnel, name, wanted.fields()))

    @routes.delete(
        "/{name}",
        response_class=Response,
        responses=describe("ChangeView", 404, 409, 422, 503, 504),
    )
    async def delete_tunnel(name: str, drain: str = "0") -> Response:
        """End a tunnel at both ends, also one that the other end has dialled.

        Its streams have the time `drain` (`30s`) to end, then they are reset. Services and bindings
        stay.
        """
        done = await gateway.tunnels.remove_tunnel(name, drain_seconds(drain))
        if not done.changed:
            raise TunnelNotFound(name)
        return as_json(ChangeView(gateway.revision, done.changed))
