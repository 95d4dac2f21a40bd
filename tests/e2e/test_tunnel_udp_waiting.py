"""Datagrams for a tunnel that is down: they wait as a connection does, the newest of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import udp
from tests.harness.forwarding import Forwarding
from tests.harness.servers import serve_udp
from tests.harness.waiting import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.harness.tunnels import Node

KEPT = 256
"""Datagrams that a flow keeps in one direction."""


@pytest.fixture
def way(pair: tuple[Node, Node]) -> Iterator[Forwarding]:
    """Give a way to an echo of datagrams, with nothing made yet but its far end."""
    with serve_udp(lambda datagram: [datagram]) as target:
        way = Forwarding(*pair, target)
        way.remote(protocol="udp").raise_for_status()
        way.bind_remote().raise_for_status()
        way.bind_local().raise_for_status()
        yield way


def open_for_clients(way: Forwarding, **changes: object) -> None:
    way.local(protocol="udp", **changes).raise_for_status()


def send_all(client: socket.socket, numbers: range) -> None:
    """Send datagrams, and wait until the gateway has taken them."""
    port = client.getpeername()[1]
    for number in numbers:
        client.send(b"%d" % number)
        if number % 50 == 49:
            until(lambda: unread(port) == 0, "the gateway to read")
    until(lambda: unread(port) == 0, "the gateway to read")


def unread(port: int) -> int:
    """Count the bytes that wait at a port for whoever listens there."""
    table = Path("/proc/net/udp").read_text()
    queues = re.findall(rf":{port:04X} [0-9A-F:]+ \d+ [0-9A-F]+:([0-9A-F]+)", table)
    return sum(int(queue, 16) for queue in queues)


def downs(node: Node) -> int:
    """Count how often the log says that the tunnel is down."""
    log = node.gateway.prefix / "logs" / "error.log"
    return log.read_text().count("tunnel t is down")


def test_the_first_datagrams_go_when_the_tunnel_has_come(way: Forwarding) -> None:
    open_for_clients(way, pending_timeout="60s")
    with udp(way.port) as client:
        send_all(client, range(3))
        way.tunnel().raise_for_status()
        assert [client.recv(100) for _ in range(3)] == [b"0", b"1", b"2"]
        client.send(b"more")
        assert client.recv(100) == b"more"


def test_a_tunnel_that_the_other_end_dials_will_do(way: Forwarding) -> None:
    open_for_clients(way, pending_timeout="60s")
    with udp(way.port) as client:
        send_all(client, range(1))
        way.tunnel(by=way.far).raise_for_status()
        assert client.recv(100) == b"0"


def test_the_oldest_datagrams_give_way(way: Forwarding) -> None:
    open_for_clients(way, pending_timeout="60s")
    with udp(way.port) as client:
        send_all(client, range(KEPT + 44))
        way.tunnel().raise_for_status()
        assert [int(client.recv(100)) for _ in range(KEPT)] == list(range(44, 44 + KEPT))
    carriers = way.near.config()["tunnels"]["t"]["carriers"]
    assert sum(carrier["datagrams_dropped"] for carrier in carriers) == 44


@pytest.mark.parametrize("rule", [{"pending_timeout": "50ms"}, {"when_down": "close"}])
def test_what_has_waited_too_long_is_lost(way: Forwarding, rule: dict[str, str]) -> None:
    open_for_clients(way, **rule)
    before = downs(way.near)
    with udp(way.port) as client:
        client.send(b"lost")
        until(lambda: downs(way.near) > before, "the end of the wait")
        way.tunnel().raise_for_status()
        client.send(b"new")
        assert client.recv(100) == b"new"
