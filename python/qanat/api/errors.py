"""Errors of the API: one JSON shape, `{"error": {"code", "message", "where"}}`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.requests import Request

_CODES = {404: "not_found", 405: "method_not_allowed", 401: "unauthorized", 403: "forbidden"}


class ErrorBody(msgspec.Struct, frozen=True):
    """What went wrong: a word for programs, a sentence for people, and the place at fault."""

    code: str
    message: str
    where: str = ""


class ErrorView(msgspec.Struct, frozen=True):
    """The body of every response that is no success."""

    error: ErrorBody


def error_response(
    status: int, error: ErrorBody, headers: Mapping[str, str] | None = None
) -> Response:
    """Make a response from an error."""
    body = msgspec.json.encode(ErrorView(error))
    return Response(body, status, headers, media_type="application/json")


def install(app: FastAPI) -> None:
    """Make the framework's own errors take our shape."""
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, on_fault)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = str(error.detail) if isinstance(error, HTTPException) else ""
    headers = error.headers if isinstance(error, HTTPException) else None
    code = _CODES.get(status, "refused")
    return error_response(status, ErrorBody(code, message, request.url.path), headers)


async def on_fault(request: Request, _: Exception) -> Response:
    """Answer when the application failed; whoever serves it logs the exception."""
    message = "the gateway failed to answer, its log has the cause"
    return error_response(500, ErrorBody("internal", message, request.url.path))
