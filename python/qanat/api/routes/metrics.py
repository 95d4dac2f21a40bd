"""`/metrics`: what a monitoring system reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from qanat.api.metrics import exposition

if TYPE_CHECKING:
    from qanat.control.gateway import LiveGateway

_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


def router(gateway: LiveGateway) -> APIRouter:
    """Make the routes of this resource."""
    routes = APIRouter(prefix="/metrics", tags=["gateway"])

    @routes.get("", response_class=Response, responses=_TEXT)
    async def show_metrics(request: Request) -> Response:
        """Show sessions, peers, rules and tunnels as Prometheus and OpenMetrics take them."""
        text, media_type = exposition(gateway, request.headers.get("accept", ""))
        return Response(text, media_type=media_type)

    return routes
