"""The description of the API (`/v1/openapi.json`) and a page to try it, served from here."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import HTMLResponse, RedirectResponse, Response

from qanat.api.njet_schema import describe_njet
from qanat.api.page import ASSETS, OPENAPI, PAGE, POLICY, START, assets
from qanat.api.schema import components


def router(location: str) -> APIRouter:
    """Make the routes of the page."""
    routes = APIRouter(prefix=location, include_in_schema=False)

    @routes.get("/start.js")
    async def start() -> Response:
        return Response(START.format(openapi=OPENAPI), media_type="text/javascript")

    @routes.get("/swagger")
    @routes.get("/swagger/")
    @routes.get("/gui")
    @routes.get("/gui/")
    async def legacy() -> Response:
        return RedirectResponse(f"{location}/")

    @routes.get("")
    @routes.get("/")
    async def page() -> Response:
        return HTMLResponse(PAGE.format(location=location), headers=POLICY)

    for name, media_type in ASSETS.items():
        response = Response(assets()[name], media_type=media_type)
        routes.add_api_route(f"/{name}", _constant(response), response_class=Response)
    return routes


def _constant(response: Response) -> Any:  # noqa: ANN401 - FastAPI reads the signature itself
    async def asset() -> Response:
        return response

    return asset


def install(app: FastAPI, legacy_location: str) -> None:
    """Complete the framework's description with our record types and NJet's resource."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            parts = described.setdefault("components", {})
            parts.setdefault("schemas", {}).update(components())
            parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            described["security"] = [{"token": []}, {}]
            described["paths"] |= describe_njet(legacy_location)
            app.openapi_schema = described
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # the framework's documented way
