"""How routes answer: records as JSON, and the same records in the API's description."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.responses import Response


def as_json(record: msgspec.Struct, status: int = 200) -> Response:
    """Answer with a record."""
    return Response(msgspec.json.encode(record), status, media_type="application/json")


def describe(name: str, *errors: int, accepted: bool = False) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a route: a record type by name, and errors by status.

    What is `accepted` answers 202 while it goes on.
    """
    described: dict[int | str, dict[str, Any]] = {200: _described("The record.", name)}
    if accepted:
        described[202] = _described("Stored, and not there yet.", name)
    described |= {status: _described("Refused.", "ErrorView") for status in (401, 403, *errors)}
    return described


def _described(text: str, name: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}
