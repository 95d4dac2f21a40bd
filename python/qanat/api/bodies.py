"""Bodies of requests: JSON of a record type, strict and bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException

from qanat.control.errors import InvalidRequest

if TYPE_CHECKING:
    from starlette.requests import Request

LARGEST_BODY = 8 << 20

T = TypeVar("T")


async def read_text(request: Request) -> bytes:
    """Read the body. Raise an `HTTPException` if it is larger than 8 MiB."""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > LARGEST_BODY:
            raise HTTPException(413, f"the body is larger than {LARGEST_BODY} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def read_body(request: Request, kind: type[T]) -> T:
    """Read the body as a record.

    Raise `InvalidRequest` if its shape is another one, and an `HTTPException` if it is no JSON or
    larger than 8 MiB.
    """
    text = await read_text(request)
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise InvalidRequest(where.rstrip("`").lstrip("."), message) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None


def with_body(name: str) -> dict[str, Any]:
    """Describe the body of a route: a record type by name."""
    schema = {"$ref": f"#/components/schemas/{name}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
