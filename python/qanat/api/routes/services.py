"""`/v1/services`: where clients of a service connect, and where it leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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


def router(gateway: LiveGateway) -> APIRouter:
    """Make the routes of this resource."""
    routes = APIRouter(prefix="/v1/services", tags=["tunnels"])

    @routes.get("", response_class=Response, responses=describe("ServicesView"))
    async def list_services() -> Response:
        """List the services with their open sessions; keys are masked."""
        return as_json(services_view(gateway.state, gateway.engine))

    _add_local(routes, gateway)
    _add_remote(routes, gateway)
    return routes


def _add_local(routes: APIRouter, gateway: LiveGateway) -> None:
    @routes.get(
        "/local/{name}", response_class=Response, responses=describe("LocalServiceView", 404)
    )
    async def show_local_service(name: str) -> Response:
        """Show one local service."""
        return _show(gateway, "local", name)

    @routes.put(
        "/local/{name}",
        response_class=Response,
        responses=describe("ServiceChangeView", *_ERRORS),
        openapi_extra=with_body("LocalBody"),
    )
    async def put_local_service(name: str, request: Request) -> Response:
        """Listen for clients of a service, or change how; open sessions go on.

        A new address is listened at before the old one is left.
        """
        wanted = await read_body(request, LocalBody)
        done = await gateway.change(putting_service, "local", name, wanted.spec())
        return _changed(gateway, "local", name, done)

    @routes.patch(
        "/local/{name}",
        response_class=Response,
        responses=describe("ServiceChangeView", 404, *_ERRORS),
        openapi_extra=with_body("LocalPatch"),
    )
    async def patch_local_service(name: str, request: Request) -> Response:
        """Change some fields of a local service."""
        wanted = await read_body(request, LocalPatch)
        done = await gateway.change(patching_service, "local", name, wanted.fields())
        return _changed(gateway, "local", name, done)

    @routes.delete(
        "/local/{name}",
        response_class=Response,
        responses=describe("ChangeView", 404, 409, 422, 503, 504),
    )
    async def delete_local_service(
        name: str, streams: Literal["keep", "reset"] = "keep"
    ) -> Response:
        """Listen for a service no longer; its sessions go on, or are reset. Bindings stay."""
        return await _delete(gateway, "local", name, resets=streams == "reset")


def _add_remote(routes: APIRouter, gateway: LiveGateway) -> None:
    @routes.get(
        "/remote/{name}", response_class=Response, responses=describe("RemoteServiceView", 404)
    )
    async def show_remote_service(name: str) -> Response:
        """Show one remote service."""
        return _show(gateway, "remote", name)

    @routes.put(
        "/remote/{name}",
        response_class=Response,
        responses=describe("ServiceChangeView", *_ERRORS),
        openapi_extra=with_body("RemoteBody"),
    )
    async def put_remote_service(name: str, request: Request) -> Response:
        """Say where a service leads to; nothing is dialled before somebody asks for it."""
        wanted = await read_body(request, RemoteBody)
        done = await gateway.change(putting_service, "remote", name, wanted.spec())
        return _changed(gateway, "remote", name, done)

    @routes.patch(
        "/remote/{name}",
        response_class=Response,
        responses=describe("ServiceChangeView", 404, *_ERRORS),
        openapi_extra=with_body("RemotePatch"),
    )
    async def patch_remote_service(name: str, request: Request) -> Response:
        """Change some fields of a remote service."""
        wanted = await read_body(request, RemotePatch)
        done = await gateway.change(patching_service, "remote", name, wanted.fields())
        return _changed(gateway, "remote", name, done)

    @routes.delete(
        "/remote/{name}",
        response_class=Response,
        responses=describe("ChangeView", 404, 409, 422, 503, 504),
    )
    async def delete_remote_service(
        name: str, streams: Literal["keep", "reset"] = "keep"
    ) -> Response:
        """Serve a service no longer; its streams go on, or are reset. Bindings stay."""
        return await _delete(gateway, "remote", name, resets=streams == "reset")


def _show(gateway: LiveGateway, kind: Kind, name: str) -> Response:
    found = service_view(gateway.state, gateway.engine, kind, name)
    if found is None:
        raise ServiceNotFound(kind, name)
    return as_json(found)


def _changed(gateway: LiveGateway, kind: Kind, name: str, done: Done) -> Response:
    found = service_view(gateway.state, gateway.engine, kind, name)
    addr = "" if found is None else found.addr
    return as_json(ServiceChangeView(done.revision, done.changed, addr))


async def _delete(gateway: LiveGateway, kind: Kind, name: str, *, resets: bool) -> Response:
    done = await gateway.tunnels.remove_service(kind, name, resets=resets)
    if not done.changed:
        raise ServiceNotFound(kind, name)
    return as_json(ChangeView(gateway.revision, done.changed))
