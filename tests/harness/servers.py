"""Peers for a gateway to relay to, each with threads of its own and a port from the kernel."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from tests.harness.waiting import PATIENCE

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Handle = Callable[[socket.socket], None]


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Return a listening socket, for tests that play the peer themselves with `accept`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=128)
    listener.settimeout(PATIENCE)
    return listener


def listen_unix(path: Path) -> socket.socket:
    """Return a socket that listens on a path."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(PATIENCE)
    return listener


def accept(listener: socket.socket) -> socket.socket:
    """Take the next connection."""
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE)
    return connection


def port_of(listener: socket.socket) -> int:
    """Return the port of a socket."""
    port: int = listener.getsockname()[1]
    return port


def echo(connection: socket.socket) -> None:
    """Send back what comes, to the end."""
    while data := connection.recv(65536):
        connection.sendall(data)


def tagged(tag: str) -> Handle:
    """Send `tag` and end."""

    def handle(connection: socket.socket) -> None:
        connection.sendall(tag.encode())

    return handle


def tagged_after_request(tag: str) -> Handle:
    """Read once, then send `tag` and what was read."""

    def handle(connection: socket.socket) -> None:
        connection.sendall(tag.encode() + b":" + connection.recv(65536))

    return handle


@contextlib.contextmanager
def serve(handle: Handle, listener: socket.socket | None = None) -> Iterator[int]:
    """Serve each connection in a thread; yield the port (0 for a unix socket)."""
    with listener or listen() as listening:
        listening.settimeout(None)

        def answer(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(PATIENCE)
                handle(connection)

        def loop() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        acceptor = threading.Thread(target=loop, daemon=True)
        acceptor.start()
        yield 0 if listening.family == socket.AF_UNIX else port_of(listening)
        listening.shutdown(socket.SHUT_RDWR)
        acceptor.join(PATIENCE)


@contextlib.contextmanager
def serve_tls(handle: Handle, context: ssl.SSLContext) -> Iterator[int]:
    """Serve as `serve` does, over TLS."""

    def over_tls(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            handle(tls)

    with serve(over_tls) as port:
        yield port


@contextlib.contextmanager
def serve_udp(answer: Callable[[bytes], list[bytes]], host: str = "127.0.0.1") -> Iterator[int]:
    """Answer each datagram with those that `answer` returns; yield the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((host, 0))
        ending = threading.Event()

        def loop() -> None:
            while not ending.is_set():
                data, client = server.recvfrom(65536)
                for reply in [] if ending.is_set() else answer(data):
                    server.sendto(reply, client)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        yield port_of(server)
        ending.set()
        with socket.socket(family, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", server.getsockname())
        thread.join(PATIENCE)
