"""Who may use the control API.

A bearer token is wanted wherever other hosts can connect, and wherever one is configured. A page of
another site in the operator's browser is refused everywhere: to the gateway it would look like the
operator.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from qanat.api.errors import ErrorBody, error_response
from qanat.compiler.address import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

    from qanat.compiler.control import ControlEndpoint

_FORBIDDEN = ErrorBody("forbidden", "a request of another web site is not served", "Origin, Host")
_UNAUTHORIZED = ErrorBody(
    "unauthorized", "this control address wants a bearer token", "Authorization"
)
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="qanat"'}


class TokenFile:
    """A token in a file, read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = b""

    def __call__(self) -> bytes:
        """Give the token that is in the file now; nothing if it cannot be read."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                self._token = self._path.read_bytes().strip()
                self._seen = seen
        except OSError:
            self._seen, self._token = None, b""
        return self._token


def token_source(endpoint: ControlEndpoint) -> Callable[[], bytes] | None:
    """Choose where the token of an endpoint comes from; None if it is open."""
    if endpoint.token_file is not None:
        return TokenFile(endpoint.token_file)
    if endpoint.token_env is not None:
        name = endpoint.token_env
        return lambda: os.environ.get(name, "").strip().encode()
    if endpoint.allow_unauthenticated or is_loopback(endpoint.address):
        return None
    # Closed by default: without a token configured nobody has it.
    return bytes


class Door:
    """Lets requests through to the application behind it, or answers 401 or 403."""

    def __init__(self, app: ASGIApp, endpoint: ControlEndpoint, public: frozenset[str]) -> None:
        self._app = app
        self._token = token_source(endpoint)
        self._local = is_loopback(endpoint.address)
        self._on_tcp = not endpoint.address.startswith("unix:")
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if not self._of_this_site(headers):
            refusal = error_response(403, _FORBIDDEN)
        elif not self._has_token(scope["path"], headers):
            refusal = error_response(401, _UNAUTHORIZED, _CHALLENGE)
        else:
            await self._app(scope, receive, send)
            return
        await refusal(scope, receive, send)

    def _has_token(self, path: str, headers: dict[bytes, bytes]) -> bool:
        if self._token is None or path in self._public:
            return True
        token = self._token()
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        right = hmac.compare_digest(given.strip(), token)
        return bool(token) and scheme.lower() == b"bearer" and right

    def _of_this_site(self, headers: dict[bytes, bytes]) -> bool:
        if headers.get(b"sec-fetch-site") == b"cross-site":
            return False
        host = headers.get(b"host", b"").decode("latin-1").lower()
        # A name that an attacker points at 127.0.0.1 is a site of the attacker's, whatever it asks.
        if host and self._local and self._on_tcp and not _is_local_name(host):
            return False
        origin = headers.get(b"origin")
        return origin is None or urlsplit(origin.decode("latin-1")).netloc.lower() == host


def _is_local_name(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
