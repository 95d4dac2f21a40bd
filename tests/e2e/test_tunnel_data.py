"""Much data through a tunnel, in both directions at once, and readers that do not keep up."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.harness.certificates import Authority, server_context
from tests.harness.clients import connect, read_all
from tests.harness.distance import long_line
from tests.harness.forwarding import Forwarding, talks
from tests.harness.servers import echo, listen_unix, serve, serve_tls
from tests.harness.tunnels import Node, new_secret, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
DELAY_S = 0.05
TLS = """
stream {
    server {
        listen 127.0.0.1:@tls;
        proxy_pass tunnel:t/s;
        proxy_ssl on;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate authority.pem;
        proxy_ssl_name target.example;
    }
}
"""


class Pair(NamedTuple):
    """Two gateways, and which of them dials."""

    near: Node
    far: Node
    dialler: Node


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Give an authority whose certificates lie beside the configuration of the near side."""
    return Authority(tmp_path / "near" / "conf")


@pytest.fixture(params=["near", "far"])
def own_pair(
    request: pytest.FixtureRequest, stack: ExitStack, tmp_path: Path, authority: Authority
) -> Pair:
    """Give two gateways, where visitors come and where the target is; either dials the tunnel."""
    assert authority.path.exists()
    secret = new_secret()
    near = start_node(tmp_path / "near", "near", secret, rest=TLS)
    stack.callback(stop_node, near)
    far = start_node(tmp_path / "far", "far", secret)
    stack.callback(stop_node, far)
    return Pair(near, far, near if request.param == "near" else far)


def forwarding(pair: Pair, target: object) -> Forwarding:
    way = Forwarding(pair.near, pair.far, target)
    assert way.tunnel(pair.dialler).json()["state"] == "up"
    return way.make(without="tunnel")


def exchange(port: int, size: int) -> tuple[str, str]:
    """Send bytes and read as many at the same time; return the digests of both."""
    sent, came = hashlib.blake2b(), hashlib.blake2b()
    block = os.urandom(MIB)
    with connect(port) as client, ThreadPoolExecutor(1) as pool:

        def read() -> None:
            left = size
            while left and (data := client.recv(min(left, MIB))):
                came.update(data)
                left -= len(data)

        reading = pool.submit(read)
        for number in range(size // MIB):
            part = number.to_bytes(4, "big") + block[4:]
            client.sendall(part)
            sent.update(part)
        reading.result()
    return sent.hexdigest(), came.hexdigest()


@pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
def test_64_mib_go_each_way_unharmed(
    stack: ExitStack, tmp_path: Path, authority: Authority, own_pair: Pair, kind: str
) -> None:
    target: object
    if kind == "unix":
        path = tmp_path / "target"
        stack.enter_context(serve(echo, listen_unix(path)))
        target = f"unix:{path}"
    elif kind == "tls":
        context = server_context(authority.issue("target.example"))
        target = stack.enter_context(serve_tls(echo, context))
    else:
        target = stack.enter_context(serve(echo))
    way = forwarding(own_pair, target)
    port = way.near.gateway.port("tls") if kind == "tls" else way.port
    sent, came = exchange(port, 64 * MIB)
    assert sent == came


def test_a_slow_reader_stops_only_its_own_stream(own_pair: Pair) -> None:
    def pour(connection: socket.socket) -> None:
        if connection.recv(1) != b"p":
            connection.sendall(b"fast")
            return
        while True:
            connection.sendall(b"p" * MIB)

    with serve(pour) as target:
        way = forwarding(own_pair, target)
        with way.visit() as slow:
            slow.sendall(b"p")

            def sent() -> int:
                carriers = way.far.config()["tunnels"]["t"]["carriers"]
                return sum(carrier["bytes_sent"] for carrier in carriers)

            # It is poured until the window is full, and then the target is held up.
            counts: deque[int] = deque(maxlen=20)

            def stands_still() -> bool:
                counts.append(sent())
                return len(counts) == counts.maxlen and len(set(counts)) == 1

            until(stands_still, "the target to be held up")
            assert 0 < counts[-1] < 32 * MIB
            for _ in range(20):
                with way.visit() as fast:
                    fast.sendall(b"f")
                    assert read_all(fast) == b"fast"


def test_a_long_line_delays_and_harms_nothing(own_pair: Pair) -> None:
    near, far, dialler = own_pair
    acceptor = far if dialler is near else near
    with serve(echo) as target, long_line(acceptor.tunnel_port, DELAY_S) as line:
        dest = ["127.0.0.1", line]
        assert dialler.post("/tunnel", name="t", dest=dest).json()["state"] == "up"
        way = Forwarding(near, far, target).make(without="tunnel")
        with way.visit() as visitor:
            began = time.monotonic()
            assert talks(visitor)
            # One way for the question with which the stream is opened, one for the answer.
            assert 2 * DELAY_S <= time.monotonic() - began < 4 * DELAY_S
        sent, came = exchange(way.port, 16 * MIB)
        assert sent == came

        def distances() -> list[int]:
            seen = [node.config()["tunnels"]["t"]["carriers"] for node in (near, far)]
            return [carrier["rtt_us"] for carriers in seen for carrier in carriers]

        until(lambda: min(distances()) >= 2 * DELAY_S * 1e6, "the distance to be measured")
