"""A client of the control API, over TCP or a unix socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_ADDRESS = "http://127.0.0.1:8081"
_TIMEOUT_S = 30.0
_UNIX = "unix:"


class ControlError(Exception):
    """The gateway could not be asked, or refused; the text is for people."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a control API is."""

    shown: str
    host: str = ""
    port: int = 0
    is_tls: bool = False
    path: str = ""
    location: str = "/api"
    """Where NJet's API lies below it."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `http://HOST:PORT[/LOCATION]`, `HOST:PORT` or `unix:PATH`. Raise `ControlError`."""
        if text.startswith(_UNIX):
            return cls(text, path=text.removeprefix(_UNIX))
        parts = urlsplit(text if "://" in text else f"http://{text}")
        try:
            port = parts.port
        except ValueError as error:
            raise ControlError(f'invalid port in the control address "{text}"') from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ControlError(f'invalid control address "{text}"')
        is_tls = parts.scheme == "https"
        default = 443 if is_tls else 80
        location = parts.path.rstrip("/") or "/api"
        return cls(text, parts.hostname, port or default, is_tls, location=location)


class Client:
    """Asks a running gateway."""

    def __init__(self, address: Address, token: str | None = None) -> None:
        self._address = address
        self._token = token

    def servers(self) -> dict[str, Any]:
        """List the virtual servers. Raise `ControlError`."""
        return self._read("/v1/servers")

    def server(self, ident: str) -> dict[str, Any]:
        """Show one virtual server. Raise `ControlError`."""
        return self._read(f"/v1/servers/{quote(ident, safe='')}")

    def status(self) -> dict[str, Any]:
        """Show the gateway as a whole. Raise `ControlError`."""
        return self._read("/v1/status")

    def handlers(self) -> dict[str, Any]:
        """List the handlers. Raise `ControlError`."""
        return self._read("/v1/handlers")

    def reload_handlers(self, timeout: float) -> dict[str, Any]:
        """Have the modules of handlers loaded anew; wait so many seconds. Raise `ControlError`."""
        status, answer = self._ask("POST", "/v1/handlers/reload", timeout=timeout)
        if status != 200:
            raise ControlError(_reason(answer, status))
        return answer

    def ask(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        """Ask for a resource of the API. Raise `ControlError`."""
        status, answer = self._ask(method, path, body)
        if status not in {200, 202}:
            raise ControlError(_reason(answer, status))
        return answer

    def add(self, address: str, name: str, body: str, listen_option: str) -> None:
        """Add a virtual server. Raise `ControlError`."""
        words = {"type": "add", "addr_port": address, "server_name": name, "server_body": body}
        if listen_option:
            words["listen_option"] = listen_option
        self._change("POST", words)

    def remove(self, address: str, name: str) -> None:
        """Remove a virtual server. Raise `ControlError`."""
        self._change("PUT", {"type": "del", "addr_port": address, "server_name": name})

    def _read(self, path: str) -> dict[str, Any]:
        return self.ask("GET", path)

    def _change(self, method: str, words: dict[str, str]) -> None:
        path = f"{self._address.location}/v1/stream_srv"
        status, answer = self._ask(method, path, json.dumps(words))
        if status != 200 or answer.get("code") != 0:
            raise ControlError(_reason(answer, status))

    def _ask(
        self, method: str, path: str, body: str | None = None, timeout: float = _TIMEOUT_S
    ) -> tuple[int, dict[str, Any]]:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = self._connect(timeout)
        try:
            connection.request(method, path, None if body is None else body.encode(), headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            shown = self._address.shown
            hint = "is it running, and with a control address?"
            raise ControlError(f"no answer from the gateway at {shown}: {error}; {hint}") from error
        finally:
            connection.close()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        return response.status, answer if isinstance(answer, dict) else {}

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        address = self._address
        if address.path:
            return _UnixConnection(address.path, timeout)
        if address.is_tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(
                address.host, address.port, timeout=timeout, context=context
            )
        return http.client.HTTPConnection(address.host, address.port, timeout=timeout)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    # `typing.override` is not in Python 3.11.
    def connect(self) -> None:  # type: ignore[explicit-override]
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def read_token(file: Path | None) -> str | None:
    """Read the token from a file, or from QANAT_TOKEN. Raise `ControlError`."""
    if file is None:
        return os.environ.get("QANAT_TOKEN") or None
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ControlError(f"the token file cannot be read: {error}") from error


def _reason(answer: dict[str, Any], status: int) -> str:
    """Find the sentence in any of the shapes that refusals have."""
    error = answer.get("error")
    if isinstance(error, dict):
        return str(error.get("message") or error)
    return str(answer.get("msg") or f"the gateway answered with status {status}")
