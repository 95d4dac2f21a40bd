"""The page to try the API: what it is made of, and which paths of it are public."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

OPENAPI = "/v1/openapi.json"
ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
POLICY = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
PAGE = """<!DOCTYPE html>
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
START = """SwaggerUIBundle({{
  url: "{openapi}",
  dom_id: "#page",
  deepLinking: true,
  validatorUrl: null,
}});
"""


@cache
def assets() -> dict[str, bytes]:
    """Read the page's scripts and styles, which an installed package brings along, by their names.

    They are kept: a gateway that has given up its rights may be unable to read them later.
    """
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package fastapi-offline is not installed")
    directory = Path(spec.origin).parent / "static"
    return {name: (directory / name).read_bytes() for name in ASSETS}


def public_paths(location: str) -> frozenset[str]:
    """List what may be read without a token: it is no secret, and the page asks for the token."""
    pages = ("", "/", "/start.js", "/swagger", "/swagger/", "/gui", "/gui/")
    below = (*pages, *(f"/{name}" for name in ASSETS))
    return frozenset({OPENAPI, *(location + path for path in below)})
