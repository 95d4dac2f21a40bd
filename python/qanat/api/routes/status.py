"""`/v1/status`: the gateway as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from qanat.api.responses import as_json, describe

if TYPE_CHECKING:
    from qanat.control.gateway import LiveGateway


def router(gateway: LiveGateway) -> APIRouter:
    """Make the routes of this resource."""
    routes = APIRouter(prefix="/v1/status", tags=["gateway"])

    @routes.get("", response_class=Response, responses=describe("StatusView"))
    async def show_status() -> Response:
        """Show version, node, revision, sessions, listeners, skipped servers."""
        return as_json(gateway.status())

    return routes
