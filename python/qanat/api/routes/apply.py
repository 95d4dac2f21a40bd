"""`/v1/apply`: many peers, tunnels, services and bindings in one change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from qanat.api.apply_body import ApplyBody
from qanat.api.bodies import read_body, with_body
from qanat.api.responses import as_json, describe
from qanat.control.tunnel_batch import applying

if TYPE_CHECKING:
    from qanat.control.gateway import LiveGateway
    from qanat.control.tunnel_state import TunnelChange


class AppliedView(msgspec.Struct, frozen=True):
    """What has changed, as paths below `/v1`; all of it is stored and live."""

    revision: int
    changed: bool
    put: list[str]
    removed: list[str]


def router(gateway: LiveGateway) -> APIRouter:
    """Make the routes of this resource."""
    routes = APIRouter(prefix="/v1/apply", tags=["tunnels"])

    @routes.post(
        "",
        response_class=Response,
        responses=describe("AppliedView", 400, 409, 413, 422, 503, 504),
        openapi_extra=with_body("ApplyBody"),
    )
    async def apply(request: Request) -> Response:
        """Make peers, tunnels, services and bindings as the body says: all of it, or nothing.

        What is as it should be is not touched, so the same body can be sent again and again.
        """
        wanted = (await read_body(request, ApplyBody)).wanted()
        done = await gateway.change(applying, wanted)
        for name, spec in wanted.tunnels.items():
            if spec is None:
                gateway.engine.close_tunnel(name)
            else:
                gateway.tunnels.want(name)
        put = [_path(change) for change in done.tunnels if change.after is not None]
        removed = [_path(change) for change in done.tunnels if change.after is None]
        return as_json(AppliedView(done.revision, done.changed, put, removed))

    return routes


def _path(change: TunnelChange) -> str:
    kind, name = change.key
    if kind == "bind":
        return f"bindings/{name.replace(':', '/', 1)}"
    return f"{kind}s/{name}" if kind in {"tunnel", "peer"} else f"services/{kind}/{name}"
