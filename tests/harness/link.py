"""A network between two gateways that can be cut: TCP connections passed on by threads."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING

from tests.harness.clients import connect
from tests.harness.servers import listen, port_of, serve

if TYPE_CHECKING:
    from collections.abc import Iterator


class Link:
    """Passes connections on to a port, until they are cut."""

    def __init__(self, to: int, port: int) -> None:
        self.port = port
        """Where it begins."""
        self._to = to
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()

    def pass_on(self, near: socket.socket) -> None:
        """Pass one connection on, to its end."""
        with connect(self._to) as far, self._known(near, far):
            back = threading.Thread(target=self._copy, args=(far, near), daemon=True)
            back.start()
            self._copy(near, far)
            back.join()

    def cut(self) -> None:
        """Reset all connections, at both ends."""
        with self._lock:
            connections, self._connections = self._connections, set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                # Who reads it in another thread wakes up, and closes it.
                connection.shutdown(socket.SHUT_RD)

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            if source in self._connections:
                sink.shutdown(socket.SHUT_WR)

    @contextlib.contextmanager
    def _known(self, *connections: socket.socket) -> Iterator[None]:
        for connection in connections:
            connection.settimeout(None)
        with self._lock:
            self._connections.update(connections)
        yield
        with self._lock:
            self._connections.difference_update(connections)


@contextlib.contextmanager
def linked(port: int) -> Iterator[Link]:
    """Give a link to a port."""
    with listen() as listener:
        link = Link(port, port_of(listener))
        with serve(link.pass_on, listener):
            yield link
            link.cut()
