"""Menet's four paths: `/tunnel`, `/service`, `/bind` and `/config`, answered with what was done.

A call returns when its effect is there. What fails leaves everything as it was, and says why.
"""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from qanat.api.bodies import read_text
from qanat.api.limit_bodies import Rate, ServiceRatesBody, Streams, bytes_of
from qanat.compiler.tunnel_limits import RATES
from qanat.compiler.tunnels import LocalService, RemoteService, TunnelSpec
from qanat.compiler.units import parse_time_ms
from qanat.config.errors import ConfigError
from qanat.control.errors import (
    Busy,
    ChangeRefused,
    DeadlineExceeded,
    InvalidRequest,
    ListenRefused,
    TunnelUnreachable,
)
from qanat.store.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from qanat.control.live_tunnels import LiveTunnels, TunnelDone

T = TypeVar("T")
Kind = Literal["local", "remote"]
Address = str | list[str | int]

_STATUSES = {"unreachable": 502, "busy": 503, "deadline": 504}
_CONFLICTS = frozenset({"static", "in_use", "exists"})
_POSITION = re.compile(r"byte (\d+)")


class TunnelCall(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `/tunnel`; rates are bytes a second, or texts such as `500k`."""

    name: str
    dest: Address | None = None
    peer: str | None = None
    send_rate: Rate = 0
    receive_rate: Rate = 0


class ServiceCall(ServiceRatesBody, forbid_unknown_fields=True, frozen=True):
    """The body of `/service`; times are milliseconds, or texts such as `5s`."""

    name: str
    type: Kind
    addr: Address | None = None
    key: str | None = None
    timeout: int | str | None = None
    pending_timeout: int | str | None = None
    when_down: Literal["hold", "refuse", "close"] = "hold"
    proxy_protocol: Literal["off", "v1", "v2"] = "off"
    protocol: Literal["tcp", "udp"] = "tcp"
    max_streams: Streams = 0

    def check(self) -> None:
        """Raise `InvalidRequest` for a field that means nothing for this type."""
        others: dict[str, dict[str, bool]] = {
            "local": {
                "proxy_protocol": self.proxy_protocol != "off",
                "max_streams": self.max_streams > 0,
            },
            "remote": {
                "pending_timeout": self.pending_timeout is not None,
                "when_down": self.when_down != "hold",
            },
        }
        for field, is_given in others[self.type].items():
            if is_given:
                raise InvalidRequest(field, f"`{field}` means nothing for a {self.type} service")


class BindCall(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `/bind`."""

    tunnel: str
    service: str
    type: Kind


class MenetApi:
    """Answers the four paths, and passes everything else on."""

    def __init__(self, app: ASGIApp, tunnels: LiveTunnels) -> None:
        self._app = app
        self._tunnels = tunnels
        self._calls: dict[str, dict[str, Callable[[Request], Awaitable[Response]]]] = {
            "/tunnel": {
                "GET": self._list_tunnels,
                "POST": self._put_tunnel,
                "DELETE": self._remove_tunnel,
            },
            "/service": {
                "GET": self._list_services,
                "POST": self._put_service,
                "DELETE": self._remove_service,
            },
            "/bind": {
                "GET": self._list_bindings,
                "POST": self._bind,
                "DELETE": self._unbind,
            },
            "/config": {"GET": self._config},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        methods = self._calls.get(scope["path"]) if scope["type"] == "http" else None
        if methods is None:
            await self._app(scope, receive, send)
            return
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        call = methods.get(method)
        if call is None:
            allowed = ", ".join(["HEAD", *methods])
            text = f"{scope['path']} answers {allowed}"
            response = _refusal(405, text, {"allow": allowed})
        else:
            response = await _answered(call, Request(scope, receive))
        await response(scope, receive, send)

    async def _put_tunnel(self, request: Request) -> Response:
        call = await _body(request, TunnelCall)
        if call.dest is None:
            raise InvalidRequest("dest", "`dest` is missing: where the other end listens")
        rates = (bytes_of(name, getattr(call, name)) for name in RATES)
        spec = TunnelSpec(_address(call.dest, "dest"), call.peer, *rates)
        return _done(await self._tunnels.put_tunnel(call.name, spec))

    async def _remove_tunnel(self, request: Request) -> Response:
        call = await _body(request, TunnelCall)
        drain = _milliseconds(request.query_params.get("drain"), "drain", 0)
        return _done(await self._tunnels.remove_tunnel(call.name, drain / 1000))

    async def _put_service(self, request: Request) -> Response:
        call = await _body(request, ServiceCall)
        if call.addr is None:
            raise InvalidRequest("addr", "`addr` is missing: where the service is")
        address = _address(call.addr, "addr")
        call.check()
        if call.type == "local":
            pending = _milliseconds(call.pending_timeout, "pending_timeout", 5000)
            spec = LocalService(
                address, call.key or "", pending, call.when_down, call.protocol, call.rates()
            )
            return _done(await self._tunnels.put_service("local", call.name, spec))
        timeout = _milliseconds(call.timeout, "timeout", 3000)
        remote = RemoteService(
            address,
            (),
            call.key or "",
            max(timeout, 1),
            call.proxy_protocol,
            call.protocol,
            call.rates(),
            call.max_streams,
        )
        return _done(await self._tunnels.put_service("remote", call.name, remote))

    async def _remove_service(self, request: Request) -> Response:
        call = await _body(request, ServiceCall)
        resets = _resets(request)
        return _done(await self._tunnels.remove_service(call.type, call.name, resets=resets))

    async def _bind(self, request: Request) -> Response:
        call = await _body(request, BindCall)
        return _done(await self._tunnels.bind(call.type, call.tunnel, call.service))

    async def _unbind(self, request: Request) -> Response:
        call = await _body(request, BindCall)
        resets = _resets(request)
        done = await self._tunnels.unbind(call.type, call.tunnel, call.service, resets=resets)
        return _done(done)

    async def _list_tunnels(self, _: Request) -> Response:
        return _json(200, self._tunnels.tunnels())

    async def _list_services(self, _: Request) -> Response:
        return _json(200, self._tunnels.services())

    async def _list_bindings(self, _: Request) -> Response:
        return _json(200, self._tunnels.bindings())

    async def _config(self, _: Request) -> Response:
        return _json(200, self._tunnels.config())


async def _answered(call: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    try:
        return await call(request)
    except HTTPException as error:
        return _refusal(error.status_code, error.detail)
    except ConfigError as error:
        return _refusal(400, str(error.problems[0]))
    except (TunnelUnreachable, Busy, DeadlineExceeded) as error:
        return _refusal(_STATUSES[error.code], str(error))
    except ListenRefused as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "address_in_use" if taken else "address_not_local"
        return _refusal(409 if taken else 400, f"{reason}: {error}")
    except ChangeRefused as error:
        return _refusal(409 if error.code in _CONFLICTS else 400, str(error))
    except StoreError as error:
        return _refusal(500, str(error))


async def _body(request: Request, kind: type[T]) -> T:
    """Read the body as a record. Raise `InvalidRequest`."""
    text = await read_text(request)
    if not text.strip():
        raise InvalidRequest("", "the body is empty; JSON is needed")
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest("", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        match = _POSITION.search(str(error))
        place = f" at byte {match[1]}" if match else f" at byte {len(text)}"
        raise InvalidRequest("", f"the body is not JSON{place}: {error}") from None


def _address(address: Address, field: str) -> str:
    """Read `"HOST:PORT"`, `["HOST", "PORT"]` or `["HOST", PORT]`."""
    if isinstance(address, str):
        return address
    if len(address) != 2:
        raise InvalidRequest(field, f"`{field}` has to be [HOST, PORT]")
    host, port = (str(part) for part in address)
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _milliseconds(value: int | str | None, field: str, default: int) -> int:
    if value is None:
        return default
    time = value if isinstance(value, int) else parse_time_ms(value)
    if time is None or not 0 <= time <= 86_400_000:
        raise InvalidRequest(field, f'`{field}` is no time: "{value}"')
    return time


def _resets(request: Request) -> bool:
    value = request.query_params.get("streams", "")
    if value not in {"", "keep", "reset"}:
        raise InvalidRequest("streams", '`streams` is "keep" or "reset"')
    return value == "reset"


def _done(done: TunnelDone) -> Response:
    answer: dict[str, Any] = {"ok": True, "changed": done.changed}
    return _json(200, answer | done.facts)


def _refusal(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    return _json(status, {"ok": False, "reason": reason}, headers)


def _json(status: int, value: object, headers: dict[str, str] | None = None) -> Response:
    body = msgspec.json.encode(value)
    return Response(body, status, headers, media_type="application/json")
