"""Errors of the API: one JSON shape, `{"error": {"code", "message", "where"}}`."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from qanat.control.errors import (
    AddressTaken,
    ChangeRefused,
    InvalidRequest,
    ListenRefused,
    PlanRefused,
)
from qanat.store.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.requests import Request

_log = logging.getLogger(__name__)

_REFUSALS = {
    **dict.fromkeys(("exists", "static", "in_use", "no_tunnels"), 409),
    **dict.fromkeys(("deadline", "worker_late"), 504),
    "not_found": 404,
    "busy": 503,
}
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
    app.add_exception_handler(ChangeRefused, _on_refusal)
    app.add_exception_handler(StoreError, _on_store_error)
    app.add_exception_handler(Exception, on_fault)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = str(error.detail) if isinstance(error, HTTPException) else ""
    headers = error.headers if isinstance(error, HTTPException) else None
    code = _CODES.get(status, "refused")
    return error_response(status, ErrorBody(code, message, request.url.path), headers)


async def _on_refusal(request: Request, error: Exception) -> Response:
    code, where = "refused", request.url.path
    match error:
        case InvalidRequest(field=field) | PlanRefused(field=field):
            code, where = InvalidRequest.code, field
        case ListenRefused(errno=errno.EADDRINUSE):
            code = AddressTaken.code
        case ChangeRefused(code=code):
            pass
    body = ErrorBody(code, str(error), where)
    return error_response(_REFUSALS.get(code, 422), body)


async def _on_store_error(request: Request, error: Exception) -> Response:
    _log.error("%s", error)
    return error_response(500, ErrorBody("store", str(error), request.url.path))


async def on_fault(request: Request, _: Exception) -> Response:
    """Answer when the application failed; whoever serves it logs the exception."""
    message = "the gateway failed to answer, its log has the cause"
    return error_response(500, ErrorBody("internal", message, request.url.path))
