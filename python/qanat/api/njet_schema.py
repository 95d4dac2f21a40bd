"""OpenAPI description of NJet's `stream_srv` resource, for `/v1/openapi.json`."""

from __future__ import annotations

from typing import Any

_TEXT = {"type": "string"}
_PROPERTIES: dict[str, Any] = {
    "addr_port": {
        **_TEXT,
        "description": "What `listen` takes: address, port, and ` udp` for datagrams.",
        "examples": ["0.0.0.0:22222", "0.0.0.0:22223 udp", "[::]:22222", "unix:/run/q.sock"],
    },
    "server_name": {**_TEXT, "description": "One name, unique on its address."},
    "listen_option": {**_TEXT, "description": "Options of a new listener, as `ssl`."},
    "server_body": {**_TEXT, "description": "Directives of `server` in `stream`."},
}


def describe_njet(location: str) -> dict[str, Any]:
    """Describe the path item below the legacy location."""
    return {
        f"{location.rstrip('/')}/v1/stream_srv": {
            "post": _operation("add", "Add a virtual server"),
            "put": _operation("del", "Remove a virtual server"),
        }
    }


def _operation(action: str, summary: str) -> dict[str, Any]:
    fields = _PROPERTIES
    if action == "del":
        fields = {name: fields[name] for name in ("addr_port", "server_name")}
    request = {
        "type": "object",
        "properties": {"type": {"const": action}, **fields},
        "required": ["type", "addr_port", "server_name"],
        "additionalProperties": False,
    }
    return {
        "tags": ["njet"],
        "summary": summary,
        "description": "Read `code`: 0 is success; status 200 may be a refusal.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {
            "200": _answer("Done, or refused: see `code`.", "application/json"),
            "400": _answer("The request has the wrong shape.", "text/plain"),
            "413": {"description": "The body is larger than 1 MiB."},
            "500": _answer("Not stored, or not finished in time.", "application/json"),
            "503": _answer("Too many changes are in progress.", "application/json"),
        },
    }


def _answer(description: str, content_type: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"code": {"type": "integer"}, "msg": _TEXT},
        "required": ["code", "msg"],
    }
    return {"description": description, "content": {content_type: {"schema": schema}}}
