"""A long line: a port whose connections reach another one, every byte late by the same time."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from typing import TYPE_CHECKING

from tests.harness.clients import connect
from tests.harness.servers import listen, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNKS = 4096  # of 64 KiB at most: more than any window of a test


@contextlib.contextmanager
def long_line(port: int, delay_s: float) -> Iterator[int]:
    """Have a line to a port of this machine; yield where it begins."""

    def carry(connection: socket.socket) -> None:
        with connect(port) as other:
            for one in (connection, other):
                one.settimeout(None)
            there = threading.Thread(target=_send_late, args=(connection, other, delay_s))
            there.start()
            _send_late(other, connection, delay_s)
            there.join()

    with serve(carry, listen()) as begin:
        yield begin


def _send_late(source: socket.socket, sink: socket.socket, delay_s: float) -> None:
    """Send what comes, so much later, to the end of it."""
    chunks: queue.Queue[tuple[float, bytes]] = queue.Queue(_CHUNKS)

    def read() -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                chunks.put((time.monotonic() + delay_s, data))
        chunks.put((time.monotonic() + delay_s, b""))

    threading.Thread(target=read, daemon=True).start()
    with contextlib.suppress(OSError):
        while True:
            due, data = chunks.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                break
            sink.sendall(data)
    # Both directions end with either of them.
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
