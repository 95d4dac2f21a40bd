"""The description of the API (`/v1/openapi.json`) and a page to try it, served from here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from qanat.api.njet_schema import describe_njet
from qanat.api.schema import components

OPENAPI = "/v1/openapi.json"
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
_POLICY = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Qanat API</title>
<link rel="icon" href="{location}/favicon.png">
<link rel="stylesheet" href="{location}/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="{location}/swagger-ui-bundle.js"></script>
<script src="{location}/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({{
  url: "{openapi}",
  dom_id: "#page",
  deepLinking: true,
  validatorUrl: null,
}});
"""


def assets_directory() -> Path:
    """Find the page's scripts and styles, which an installed package brings along."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package fastapi-offline is not installed")
    return Path(spec.origin).parent / "static"


def public_paths(location: str) -> frozenset[str]:
    """List what may be read without a token: it is no secret, and the page asks for the token."""
    pages = ("", "/", "/start.js", "/swagger", "/swagger/", "/gui", "/gui/")
    below = (*pages, *(f"/{name}" for name in _ASSETS))
    return frozenset({OPENAPI, *(location + path for path in below)})


def router(location: str) -> APIRouter:
    """Make the routes of the page."""
    routes = APIRouter(prefix=location, include_in_schema=False)
    directory = assets_directory()

    @routes.get("/start.js")
    async def start() -> Response:
        return Response(_START.format(openapi=OPENAPI), media_type="text/javascript")

    @routes.get("/swagger")
    @routes.get("/swagger/")
    @routes.get("/gui")
    @routes.get("/gui/")
    async def legacy() -> Response:
        return RedirectResponse(f"{location}/")

    @routes.get("")
    @routes.get("/")
    async def page() -> Response:
        return HTMLResponse(_PAGE.format(location=location), headers=_POLICY)

    for name, media_type in _ASSETS.items():
        response = FileResponse(directory / name, media_type=media_type)
        routes.add_api_route(f"/{name}", _constant(response), response_class=FileResponse)
    return routes


def _constant(response: FileResponse) -> Any:  # noqa: ANN401 - FastAPI reads the signature itself
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
