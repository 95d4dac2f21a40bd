"""`/v1/services`: where clients of a service connect, and where it leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from qanat.api.bodies import read_body, with_body
from qanat.api.responses import as_json, describe
from qanat.api.routes.rules import ChangeView
from qanat.api.tunnel_bodies import LocalBody, LocalPatch, RemoteBody, RemotePatch
from qanat.control.errors import ServiceNotFound
from qanat.control.tunnel_patches import patching_service
from qanat.control.tunnel_views import service_view, services_view
from qanat.control.tunnels import putting_service

if TYPE_CHECKING:
    from qanat.compiler.tunnels import Kind
    from qanat.control.gateway import Done, LiveGateway

_ERRORS = (400, 409, 413, 422, 503, 504)


class ServiceChangeView(msgspec.Struct, frozen=True):
    """A service that is stored and live; `addr` has the real port if 0 was asked for."""

    revision: int
    changed: bool
    addr: str


@dataclass(frozen=True, slots=True)
class _Shape:
    """A kind of services: the records of its requests and answers, and what its routes do."""

    kind: Kind
    body: type[LocalBody | RemoteBody]
    patch: type[LocalPatch | RemotePatch]
    view: str
    puts: str
    deletes: str


_SHAPES = (
    _Shape(
        "local",
        LocalBody,
        LocalPatch,
        "LocalServiceView",
        "Listen for clients of a service, or change how; open sessions go on.\n\n"
        "A new address is listened at before the old one is left.",
        "Listen for a service no longer; its sessions go on, or are reset. Bindings stay.",
    ),
    _Shape(
        "remote",
        RemoteBody,
        RemotePatch,
        "RemoteServiceView",
        "Say where a service leads to; nothing is dialled before somebody asks for it.",
        "Serve a service no longer; its streams go on, or are reset. Bindings stay.",
    ),
)


def router(gateway: LiveGateway) -> APIRouter:
    """Make the routes of this resource."""
    routes = APIRouter(prefix="/v1/services", tags=["tunnels"])

    @routes.get("", response_class=Response, responses=describe("ServicesView"))
    async def list_services() -> Response:
        """List the services with their open sessions; keys are masked."""
        return as_json(services_view(gateway.state, gateway.engine))

    for shape in _SHAPES:
        _add_kind(routes, gateway, shape)
    return routes


def _add_kind(routes: APIRouter, gateway: LiveGateway, shape: _Shape) -> None:
    kind = shape.kind
    path = f"/{kind}/{{name}}"

    def called(verb: str, text: str) -> dict[str, Any]:
        name = f"{verb}_{kind}_service"
        return {"name": name, "description": text, "response_class": Response}

    @routes.get(
        path,
        responses=describe(shape.view, 404),
        **called("show", f"Show one {kind} service."),
    )
    async def show(name: str) -> Response:
        found = service_view(gateway.state, gateway.engine, kind, name)
        if found is None:
            raise ServiceNotFound(kind, name)
        return as_json(found)

    @routes.put(
        path,
        responses=describe("ServiceChangeView", *_ERRORS),
        openapi_extra=with_body(shape.body.__name__),
        **called("put", shape.puts),
    )
    async def put(name: str, request: Request) -> Response:
        wanted = await read_body(request, shape.body)
        done = await gateway.change(putting_service, kind, name, wanted.spec())
        return _changed(gateway, kind, name, done)

    @routes.patch(
        path,
        responses=describe("ServiceChangeView", 404, *_ERRORS),
        openapi_extra=with_body(shape.patch.__name__),
        **called("patch", f"Change some fields of a {kind} service."),
    )
    async def patch(name: str, request: Request) -> Response:
        wanted = await read_body(request, shape.patch)
        done = await gateway.change(patching_service, kind, name, wanted.fields())
        return _changed(gateway, kind, name, done)

    @routes.delete(
        path,
        responses=describe("ChangeView", 404, 409, 422, 503, 504),
        **called("delete", shape.deletes),
    )
    async def delete(name: str, streams: Literal["keep", "reset"] = "keep") -> Response:
        done = await gateway.tunnels.remove_service(kind, name, resets=streams == "reset")
        if not done.changed:
            raise ServiceNotFound(kind, name)
        return as_json(ChangeView(gateway.revision, done.changed))


def _changed(gateway: LiveGateway, kind: Kind, name: str, done: Done) -> Response:
    found = service_view(gateway.state, gateway.engine, kind, name)
    addr = "" if found is None else found.addr
    return as_json(ServiceChangeView(done.revision, done.changed, addr))
