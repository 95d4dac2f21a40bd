"""Serves the control API on every control address, in the loop of the main thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import uvicorn

from qanat.api.app import create_app
from qanat.cli.messages import system_error
from qanat.cli.sockets import UNIX, bind_control

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator, Iterable

    from qanat.compiler.control import ControlEndpoint
    from qanat.control.gateway import LiveGateway

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
        if unlink and address.startswith(UNIX):
            with contextlib.suppress(OSError):
                os.unlink(address.removeprefix(UNIX))  # noqa: PTH108 - one system call


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
        return bind_control(address)
    except OSError as error:
        raise ControlBindError(f"bind() to {address} failed {system_error(error)}") from error
