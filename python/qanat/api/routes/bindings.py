"""`/v1/bindings`: which services are reached, and may be reached, through which tunnels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter
from starlette.responses import Response

from qanat.api.responses import as_json, describe
from qanat.api.routes.rules import ChangeView
from qanat.control.errors import BindingNotFound
from qanat.control.tunnel_views import binding_view, bindings_view
from qanat.control.tunnels import binding

if TYPE_CHECKING:
    from qanat.control.gateway import LiveGateway

# The framework reads it when the routes are made.
Kind = Literal["local", "remote"]


def router(gateway: LiveGateway) -> APIRouter:
    """Make the routes of this resource."""
    routes = APIRouter(prefix="/v1/bindings", tags=["tunnels"])

    @routes.get("", response_class=Response, responses=describe("BindingsView"))
    async def list_bindings() -> Response:
        """List the bindings, with the states of their tunnels."""
        return as_json(bindings_view(gateway.state, gateway.engine))

    @routes.get(
        "/{kind}/{tunnel}/{service}",
        response_class=Response,
        responses=describe("BindingView", 404, 422),
    )
    async def show_binding(kind: Kind, tunnel: str, service: str) -> Response:
        """Show one binding."""
        found = binding_view(gateway.state, gateway.engine, kind, tunnel, service)
        if found is None:
            raise BindingNotFound(kind, tunnel, service)
        return as_json(found)

    @routes.put(
        "/{kind}/{tunnel}/{service}",
        response_class=Response,
        responses=describe("ChangeView", 409, 422, 503, 504),
    )
    async def put_binding(kind: Kind, tunnel: str, service: str) -> Response:
        """Bind a service to a tunnel; neither has to be there yet. There is no body.

        A `remote` one lets the other end of that tunnel open the service; a `local` one sends the
        clients of the service through that tunnel, or through each of several in turn.
        """
        done = await gateway.change(binding, kind, tunnel, service)
        return as_json(ChangeView(done.revision, done.changed))

    @routes.delete(
        "/{kind}/{tunnel}/{service}",
        response_class=Response,
        responses=describe("ChangeView", 404, 409, 422, 503, 504),
    )
    async def delete_binding(
        kind: Kind, tunnel: str, service: str, streams: Literal["keep", "reset"] = "keep"
    ) -> Response:
        """End a binding; streams go on, or are reset."""
        resets = streams == "reset"
        done = await gateway.tunnels.unbind(kind, tunnel, service, resets=resets)
        if not done.changed:
            raise BindingNotFound(kind, tunnel, service)
        return as_json(ChangeView(gateway.revision, done.changed))

    return routes
