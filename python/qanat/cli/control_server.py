"""The HTTP server of one control address."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import uvicorn

from qanat.api.app import create_app
from qanat.cli.control_protocol import ControlProtocol
from qanat.cli.sockets import UNIX

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator

    from qanat.compiler.control import ControlEndpoint
    from qanat.control.gateway import LiveGateway

_GRACE_S = 1  # for answers under way when a control address closes


class ControlServer:
    """One control address with its server."""

    def __init__(
        self, gateway: LiveGateway, endpoint: ControlEndpoint, listening: socket.socket
    ) -> None:
        self.endpoint = endpoint
        self.socket = listening
        config = uvicorn.Config(
            create_app(gateway, endpoint),
            http=ControlProtocol,
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
    """A server that leaves signals to the process and says when it accepts.

    `typing.override` is not in Python 3.11.
    """

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
