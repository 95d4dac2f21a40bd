"""HTTP on the control API's connections, with the bounds that the server's own protocol lacks.

A client that stalls, within a request or while it is answered, loses its connection; a head without
end is refused; so are connections beyond a number. None of them may cost the data plane descriptors
or memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

EXCHANGE_S = 60.0
"""Time from one answer (or the connection) to the end of the next answer."""
LARGEST_HEAD = 64 * 1024
MOST_CONNECTIONS = 1024
"""Of one control address; more than changes may wait."""


class ControlProtocol(HttpToolsProtocol):
    """One connection of a client.

    `typing.override` is not in Python 3.11; the server's own class narrows the transport, too.
    """

    _deadline: asyncio.TimerHandle | None = None
    _head: int | None = 0
    """Bytes of the request's head so far; `None` once it is complete."""

    def connection_made(  # type: ignore[override, explicit-override]
        self, transport: asyncio.Transport
    ) -> None:
        """Begin, unless there are too many already."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:  # type: ignore[explicit-override]
        """End."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:  # type: ignore[explicit-override]
        """Take bytes of a request."""
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        too_large = self._head is not None and self._head > LARGEST_HEAD
        if too_large and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_headers_complete(self) -> None:  # type: ignore[explicit-override]
        """Begin to answer."""
        self._head = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:  # type: ignore[explicit-override]
        """Expect the head of another request."""
        self._head = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:  # type: ignore[explicit-override]
        """Give the next exchange its time."""
        self._arm()
        super().on_response_complete()

    def _arm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(EXCHANGE_S, self.transport.abort)
