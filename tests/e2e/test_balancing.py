"""`upstream`: in which order peers are chosen, by each method, by all workers together."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, connect, read_exactly
from tests.harness.servers import echo, serve, tagged

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    upstream weighted {
        zone weighted 64k;
        server 127.0.0.1:@a weight=5;
        server 127.0.0.1:@b;
        server 127.0.0.1:@c;
    }
    upstream by_address {
        hash $remote_addr;
        server 127.0.0.1:@a;
        server 127.0.0.1:@b;
        server 127.0.0.1:@c;
    }
    upstream ring {
        hash $remote_addr consistent;
        server 127.0.0.1:@a;
        server 127.0.0.1:@b weight=2;
        server 127.0.0.1:@c;
    }
    upstream any {
        random;
        server 127.0.0.1:@a;
        server 127.0.0.1:@b;
        server 127.0.0.1:@c down;
    }
    upstream better_of_two {
        random two least_conn;
        server 127.0.0.1:@a;
        server 127.0.0.1:@b;
    }
    upstream standing_by {
        server 127.0.0.1:@a down;
        server 127.0.0.1:@b backup;
    }
    server { listen 127.0.0.1:@weighted; proxy_pass weighted; }
    server { listen 127.0.0.1:@by_address; proxy_pass by_address; }
    server { listen 127.0.0.1:@ring; proxy_pass ring; }
    server { listen 127.0.0.1:@any; proxy_pass any; }
    server { listen 127.0.0.1:@better_of_two; proxy_pass better_of_two; }
    server { listen 127.0.0.1:@standing_by; proxy_pass standing_by; }
}
"""
HELD = """
stream {
    log_format peer '$upstream_addr';
    access_log logs/access.log peer;
    upstream least {
        least_conn;
        server 127.0.0.1:@a weight=2;
        server 127.0.0.1:@b;
    }
    upstream limited {
        zone limited 64k;
        server 127.0.0.1:@a max_conns=2;
        server 127.0.0.1:@b max_conns=1;
    }
    server { listen 127.0.0.1:@least; proxy_pass least; }
    server { listen 127.0.0.1:@limited; proxy_pass limited; }
}
"""
TWO_WORKERS = "worker_processes 2;\nerror_log logs/error.log info;\nevents { }\n"
SOURCES = [f"127.0.0.{last}" for last in range(2, 42)]


@pytest.fixture
def running(gateway: Gateway) -> Iterator[Gateway]:
    with contextlib.ExitStack() as peers:
        ports = {tag: peers.enter_context(serve(tagged(tag))) for tag in "abc"}
        gateway.write(CONFIG, TWO_WORKERS, **ports)
        yield gateway.start()


def picks(gateway: Gateway, front: str, sources: list[str]) -> str:
    return "".join(ask(gateway.port(front), source=source).decode() for source in sources)


def test_smooth_weights(running: Gateway) -> None:
    assert picks(running, "weighted", SOURCES[:14]) == "aabacaaaabacaa"


@pytest.mark.parametrize("front", ["by_address", "ring"])
def test_a_key_keeps_its_peer(running: Gateway, front: str) -> None:
    first = picks(running, front, SOURCES)
    assert picks(running, front, SOURCES) == first
    assert set(first) == set("abc")


def test_random(running: Gateway) -> None:
    assert set(picks(running, "any", SOURCES)) == set("ab")
    assert set(picks(running, "better_of_two", SOURCES)) == set("ab")


def test_backup(running: Gateway) -> None:
    assert picks(running, "standing_by", SOURCES[:4]) == "bbbb"


def open_session(gateway: Gateway, front: str) -> socket.socket:
    """Open a session that has reached its peer."""
    client = connect(gateway.port(front))
    client.sendall(b"x")
    assert read_exactly(client, 1) == b"x"
    return client


@pytest.fixture
def holding(gateway: Gateway) -> Iterator[tuple[Gateway, dict[str, int]]]:
    with serve(echo) as a, serve(echo) as b:
        gateway.write(HELD, TWO_WORKERS, a=a, b=b)
        yield gateway.start(), {"a": a, "b": b}


def test_least_conn(holding: tuple[Gateway, dict[str, int]]) -> None:
    gateway, ports = holding
    clients = [open_session(gateway, "least") for _ in range(9)]
    for client in clients:
        client.close()
    counts = Counter(gateway.log_lines(9))
    assert counts == {f"127.0.0.1:{ports['a']}": 6, f"127.0.0.1:{ports['b']}": 3}


def test_max_conns(holding: tuple[Gateway, dict[str, int]]) -> None:
    gateway, ports = holding
    clients = [open_session(gateway, "limited") for _ in range(3)]
    assert ask(gateway.port("limited")) == b""
    gateway.wait_for_log("no live upstreams while connecting to upstream")
    assert gateway.log_lines(1) == ["limited"]
    clients.pop().close()
    gateway.log_lines(2)
    with open_session(gateway, "limited"):
        pass
    for client in clients:
        client.close()
    addresses = {f"127.0.0.1:{port}" for port in ports.values()}
    assert set(gateway.log_lines(5)) == {"limited", *addresses}
