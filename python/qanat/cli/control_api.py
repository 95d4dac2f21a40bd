"""Serves the control API on every control address, in the loop of the main thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from qanat.api.app import create_app
from qanat.cli.messages import system_error

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from qanat.compiler.control import ControlEndpoint
    from qanat.control.gateway import LiveGateway

_UNIX = "unix:"
_GRACE_S = 1  # for answers under way when a control address closes


class ControlBindError(Exception):
    """A control address that cannot be bound; the text is nginx's."""


class ControlApi:
    """The open control addresses; follows the configuration through reloads."""

    def __init__(self, gateway: LiveGateway) -> None:
        self._gateway = gateway
        self._open: dict[ControlEndpoint, _Served] = {}

    def bind(self, endpoints: Iterable[ControlEndpoint]) -> dict[ControlEndpoint, socket.socket]:
        """Bind what is not open yet. Raise `ControlBindError`, with none left bound."""
        taken = {endpoint.address: served for endpoint, served in self._open.items()}
        bound: dict[ControlEndpoint, socket.socket] = {}
        try:
            for endpoint in endpoints:
                known = taken.get(endpoint.address)
                if known is None:
                    bound[endpoint] = bind(endpoint.address)
                elif endpoint not in self._open:
                    # Only who may use it has changed: the socket stays.
                    bound[endpoint] = known.socket.dup()
        except BaseException:
            release(bound)
            raise
        return bound

    async def switch(
        self, endpoints: Iterable[ControlEndpoint], bound: dict[ControlEndpoint, socket.socket]
    ) -> None:
        """Serve exactly these endpoints; `bound` holds the sockets of the new ones."""
        wanted = dict.fromkeys(endpoints)
        gone = [self._open.pop(endpoint) for endpoint in list(self._open) if endpoint not in wanted]
        for endpoint, listening in bound.items():
            self._open[endpoint] = _Served(self._gateway, endpoint, listening)
        for served in self._open.values():
            await served.started()
        kept = {endpoint.address for endpoint in self._open}
        for served in gone:
            await served.close(unlink=served.endpoint.address not in kept)

    async def close(self) -> None:
        """Stop serving."""
        await self.switch((), {})


class _Served:
    """One control address with its server."""

    def __init__(
        self, gateway: LiveGateway, endpoint: ControlEndpoint, listening: socket.socket
    ) -> None:
        self.endpoint = endpoint
        self.socket = listening
        config = uvicorn.Config(
            create_app(gateway, endpoint),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = _Server(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))

    async def started(self) -> None:
        """Wait until requests are accepted. Raise what kept the server from it."""
        ready = asyncio.create_task(self._server.accepting.wait())
        await asyncio.wait({ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            await self._task

    async def close(self, *, unlink: bool) -> None:
        """Let answers under way end, then close."""
        self._server.should_exit = True
        await self._task
        self.socket.close()
        address = self.endpoint.address
        if unlink and address.startswith(_UNIX):
            with contextlib.suppress(OSError):
                os.unlink(address.removeprefix(_UNIX))  # noqa: PTH108 - one system call


class _Server(uvicorn.Server):
    """A server that leaves signals to the process and says when it accepts."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:  # type: ignore[explicit-override]
        """Take no signals."""
        yield

    async def startup(  # type: ignore[explicit-override]
        self, sockets: list[socket.socket] | None = None
    ) -> None:
        """Start as ever, and say so."""
        await super().startup(sockets)
        self.accepting.set()


def release(bound: dict[ControlEndpoint, socket.socket]) -> None:
    """Close sockets that were bound for nothing."""
    for listening in bound.values():
        listening.close()


def bind(address: str) -> socket.socket:
    """Bind a control address. Raise `ControlBindError`."""
    try:
        if address.startswith(_UNIX):
            return _bind_unix(Path(address.removeprefix(_UNIX)))
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind((host, int(port)))
            listening.listen(socket.SOMAXCONN)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise ControlBindError(f"bind() to {address} failed {system_error(error)}") from error
    return listening


def _bind_unix(path: Path) -> socket.socket:
    """Bind a socket that the owner alone may use, over one that nobody serves any more."""
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
        listening.listen(socket.SOMAXCONN)
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError:
            return
