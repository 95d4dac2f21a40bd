"""NJet's control API: `POST` and `PUT /api/v1/stream_srv`, answer for answer.

Plain ASGI rather than routes of the framework: the contract fixes every byte, and this is the fast
path.
"""

from __future__ import annotations

import errno
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qanat.api.identity import SERVER
from qanat.api.njet_request import ShapeError, StreamServer, parse_request
from qanat.compiler.virtual_server import VirtualServerRequest
from qanat.config.errors import ConfigError
from qanat.config.grammar import read
from qanat.control.errors import (
    Busy,
    ChangeRefused,
    DeadlineExceeded,
    InvalidRequest,
    ListenRefused,
    PlanRefused,
    ServerExists,
    ServerIsStatic,
    ServerNotFound,
)
from qanat.store.base import StoreError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from qanat.control.gateway import LiveGateway

LARGEST_BODY = 1024 * 1024
# Read on this far before refusing: a connection closed with data unread resets, answer and all.
_DRAINED = 8 * LARGEST_BODY
JSON = b"application/json"
SUCCESS = b'{"code":0,"msg":"success."}'

GENERIC, NOT_ALLOWED = 4, 5

_TOO_LARGE = f"""<html>\r
<head><title>413 Request Entity Too Large</title></head>\r
<body>\r
<center><h1>413 Request Entity Too Large</h1></center>\r
<hr><center>{SERVER}</center>\r
</body>\r
</html>\r
""".encode()
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response."""

    status: int
    content_type: bytes
    body: bytes
    close: bool = False


_OK = Answer(200, JSON, SUCCESS)
_NO_METHOD = Answer(404, JSON, b'{"code":404,"msg":"not found error"}')
_NO_MODULE = Answer(404, JSON, b'{"code":404,"msg":" not register api module"}')
_LARGE = Answer(413, b"text/html", _TOO_LARGE, close=True)
_TIMEOUT = Answer(500, JSON, b'{\n  "code": 500,\n  "msg": "rpc timeout"\n}')


class NjetApi:
    """The ASGI application below the legacy location (`/api`)."""

    def __init__(self, gateway: LiveGateway, location: str) -> None:
        self._gateway = gateway
        self._resource = f"{location.rstrip('/')}/v1/stream_srv"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope["path"]
        method: str = scope["method"]
        if path == self._resource and method in {"POST", "PUT"}:
            body = await _read(scope, receive)
            answer = _LARGE if body is None else await self._process(method, body)
        elif path == self._resource or path.startswith(self._resource + "/"):
            answer = _NO_METHOD
        else:
            answer = _NO_MODULE
        await _send(send, answer, head=method == "HEAD")

    async def _process(self, method: str, body: bytes) -> Answer:
        try:
            request = parse_request(method, body)
        except ShapeError as error:
            return _bad_shape(str(error))
        try:
            await self._change(request)
        except (ChangeRefused, ConfigError, StoreError) as error:
            return _refusal(request, error)
        return _OK

    async def _change(self, request: StreamServer) -> None:
        if request.action == "del":
            await self._gateway.remove_virtual_server(request.address, request.server_name)
            return
        await self._gateway.add_virtual_server(
            VirtualServerRequest(
                address=request.address,
                server_name=request.server_name,
                body=request.body,
                listen_option=request.listen_option,
            )
        )


def _refusal(request: StreamServer, error: Exception) -> Answer:
    """Word a refusal as NJet does."""
    match error:
        case ServerExists():
            where = f"[{request.address}] server[{request.server_name}]"
            return _semantic(NOT_ALLOWED, f"error:{where} exist!")
        case ServerNotFound():
            name = request.server_name
            return _semantic(GENERIC, f"error:host[{request.address}],no find server [{name}]!")
        case ServerIsStatic():
            return _semantic(NOT_ALLOWED, "only dynamic server,can to be delete!")
        case DeadlineExceeded():
            return _TIMEOUT
        case Busy():
            return _coded(503, GENERIC, str(error))
        case StoreError():
            _log.error("%s", error)
            return _coded(500, GENERIC, str(error))
        case InvalidRequest():
            return _bad_field(error)
        case _:
            return _semantic(GENERIC, _reason(request, error))


def _reason(request: StreamServer, error: Exception) -> str:
    match error:
        case ListenRefused(errno=errno.EADDRINUSE) if not _is_unix(error.listener):
            port = error.listener.rpartition(":")[2]
            return f"Port {port} is already in use in checking port in addr_port:1"
        case ListenRefused():
            cause = f"{error.errno}: {error.reason}"
            return f"bind failed in checking port ({cause}) in addr_port:1"
        case PlanRefused(kind="servers", field="names"):
            return f"{error.reason} in server_name:1"
        case PlanRefused(kind="servers", field="access_log" | "error_log"):
            return f"{error.reason}{_place(request.body, error)}"
        case ConfigError():
            # One at a time, as NJet: what follows is often a consequence of the first.
            return str(error.problems[0])
        case _:
            return str(error)


def _place(body: str, refused: PlanRefused) -> str:
    """Find the line of the body that the data plane refuses, by the path that it names."""
    directives, _ = read(body, "server_body")
    for directive in directives:
        if directive.name == refused.field and directive.args[0] in refused.reason:
            return f" in {directive.origin}"
    return ""


def _is_unix(listener: str) -> bool:
    return listener.partition(":")[2].startswith("unix:")


def _bad_field(error: InvalidRequest) -> Answer:
    if str(error) == "server_name is null!":
        return _bad_shape(str(error))
    field = {"address": "addr_port", "body": "server_body"}.get(error.field, error.field)
    return _semantic(GENERIC, f"{error} in {field}:1")


def _bad_shape(message: str) -> Answer:
    return Answer(400, b"text/plain", _json(GENERIC, message))


def _semantic(code: int, message: str) -> Answer:
    # NJet answers these with status 200: its clients read `code`.
    return _coded(200, code, message)


def _coded(status: int, code: int, message: str) -> Answer:
    return Answer(status, JSON, _json(code, message))


def _json(code: int, message: str) -> bytes:
    text = json.dumps({"code": code, "msg": message}, ensure_ascii=False, separators=(",", ":"))
    # A byte that is no text in a file name of a message must not turn an answer into an error.
    return text.encode(errors="replace")


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    """Read the body; None if it is larger than a request may be."""
    if int(dict(scope["headers"]).get(b"content-length", b"0")) > _DRAINED:
        return None
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return b""
        size += len(message.get("body", b""))
        if size <= LARGEST_BODY:
            pieces.append(message.get("body", b""))
        elif size > _DRAINED:
            return None
        more = message.get("more_body", False)
    return b"".join(pieces) if size <= LARGEST_BODY else None


async def _send(send: Send, answer: Answer, *, head: bool) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    if answer.close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})
