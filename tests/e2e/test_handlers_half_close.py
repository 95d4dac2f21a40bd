"""When the end of what a client sends is the end of its interest, and when it is not."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import connect, read_all
from tests.harness.servers import echo, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    init_by_python_block { import asyncio }
    log_format status '$status';
    access_log logs/access.log status;
    server { listen 127.0.0.1:@access; proxy_half_close @half;
        access_by_python_block { await @pause } proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@preread; proxy_half_close @half;
        preread_by_python_block { await @pause } proxy_pass 127.0.0.1:@peer; }
}
"""


PAUSE = "asyncio.sleep(0.3)"
FOREVER = "asyncio.Event().wait()"


@contextlib.contextmanager
def serving(gateway: Gateway, half: str, pause: str) -> Iterator[Gateway]:
    with serve(echo) as peer:
        gateway.write(CONFIG, peer=peer, half=half, pause=pause)
        yield gateway.start()


@pytest.mark.parametrize("phase", ["access", "preread"])
def test_a_silent_client_that_ends_has_left(gateway: Gateway, phase: str) -> None:
    with serving(gateway, "off", FOREVER), connect(gateway.port(phase)) as client:
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
        assert gateway.log_lines(1) == ["499"]


@pytest.mark.parametrize("phase", ["access", "preread"])
def test_a_silent_client_that_ends_may_still_listen(gateway: Gateway, phase: str) -> None:
    with serving(gateway, "on", PAUSE), connect(gateway.port(phase)) as client:
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
        assert gateway.log_lines(1) == ["200"]


@pytest.mark.parametrize("half_close", ["on", "off"])
@pytest.mark.parametrize("phase", ["access", "preread"])
def test_bytes_before_the_end_are_still_relayed(
    gateway: Gateway, phase: str, half_close: str
) -> None:
    with serving(gateway, half_close, PAUSE):
        with connect(gateway.port(phase)) as client:
            client.sendall(b"request")
            client.shutdown(socket.SHUT_WR)
            answer = read_all(client)
        assert gateway.log_lines(1) == ["200"]
    if half_close == "on":
        assert answer == b"request"
