"""Serves the control API on every control address, in the loop of the main thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.cli.messages import system_error
from qanat.cli.sockets import bind_control

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from qanat.cli.control_server import ControlServer
    from qanat.compiler.control import ControlEndpoint
    from qanat.control.gateway import LiveGateway


class ControlBindError(Exception):
    """A control address that cannot be bound; the text is nginx's."""


class ControlApi:
    """The open control addresses; follows the configuration through reloads."""

    def __init__(self, gateway: LiveGateway) -> None:
        self._gateway = gateway
        self._open: dict[ControlEndpoint, ControlServer] = {}

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
        if bound:
            # Imported late: sessions are served before the HTTP server is loaded.
            from qanat.cli.control_server import ControlServer  # noqa: PLC0415 - see above

            for endpoint, listening in bound.items():
                self._open[endpoint] = ControlServer(self._gateway, endpoint, listening)
        for served in self._open.values():
            await served.started()
        kept = {endpoint.address for endpoint in self._open}
        for served in gone:
            await served.close(unlink=served.endpoint.address not in kept)

    async def close(self) -> None:
        """Stop serving."""
        await self.switch((), {})


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
