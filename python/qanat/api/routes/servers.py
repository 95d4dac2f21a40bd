"""`/v1/servers`: the virtual servers, those of the file and those of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from qanat.api.responses import as_json, describe
from qanat.control.views import ServerView  # noqa: TC001 - msgspec reads the annotation

if TYPE_CHECKING:
    from qanat.control.gateway import LiveGateway


class ServersView(msgspec.Struct, frozen=True):
    """All virtual servers at one revision."""

    revision: int
    servers: tuple[ServerView, ...]


def router(gateway: LiveGateway) -> APIRouter:
    """Make the routes of this resource."""
    routes = APIRouter(prefix="/v1/servers", tags=["virtual servers"])

    @routes.get("", response_class=Response, responses=describe("ServersView"))
    async def list_servers() -> Response:
        """List the virtual servers."""
        return as_json(ServersView(gateway.revision, gateway.servers()))

    @routes.get("/{id:path}", response_class=Response, responses=describe("ServerView", 404))
    async def show_server(id: str) -> Response:
        """Show one virtual server; its id may hold slashes."""
        found = gateway.server(id)
        if found is None:
            raise HTTPException(404, f'no virtual server has the id "{id}"')
        return as_json(found)

    return routes
