"""`examples/echo`, as it stands."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tests.harness import examples
from tests.harness.clients import connect, read_all, read_exactly

if TYPE_CHECKING:
    from pathlib import Path


def test_each_line_comes_back(tmp_path: Path) -> None:
    with (
        examples.running("echo", tmp_path) as echo,
        connect(echo.port("127.0.0.1:1234")) as client,
        connect(echo.port(1234)) as other,
    ):
        client.sendall(b"hello\nwor")
        assert read_exactly(client, 6) == b"hello\n"
        other.sendall(b"meanwhile\n")
        assert read_exactly(other, 10) == b"meanwhile\n"
        client.sendall(b"ld\nand the rest")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"world\nand the rest"
