"""Datagrams through a tunnel: whole, in order within a flow, and a flow for each client."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import udp
from tests.harness.servers import serve_udp
from tests.harness.tunnels import Node, new_secret, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

KEY = "dns key"
SIZES = (1, 0, 1200, 9000, 16_383, 16_384, 40_000, 65_507)
CLIENTS = 200
IN_A_ROW = 100


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    """Serve an echo of datagrams; give its port."""
    with serve_udp(lambda datagram: [datagram]) as port:
        yield port


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, echo_port: int) -> Iterator[tuple[Node, Node]]:
    """Give a node whose file leads to the echo, and one that clients come to."""
    secret = new_secret()
    folder = tmp_path_factory.mktemp("tunnel_udp")
    b = start_node(
        folder / "b",
        "b",
        secret,
        f'service echo remote 127.0.0.1:{echo_port} udp "key={KEY}";\nbind t echo remote;',
    )
    a = start_node(folder / "a", "a", secret)
    a.post("/tunnel", name="t", dest=["127.0.0.1", b.tunnel_port]).raise_for_status()
    a.post("/bind", tunnel="t", service="echo", type="local").raise_for_status()
    service = {"name": "echo", "type": "local", "key": KEY, "protocol": "udp"}
    address = ["127.0.0.1", a.gateway.ports["clients"]]
    a.post("/service", addr=address, **service).raise_for_status()
    yield a, b
    stop_node(a)
    stop_node(b)


def asked(client: socket.socket, datagram: bytes) -> bytes:
    client.send(datagram)
    return client.recv(65_536)


def serving(node: Node) -> int:
    return int(node.config()["connections"]["t"]["serving"])


def test_datagrams_of_any_size_keep_their_boundaries(pair: tuple[Node, Node]) -> None:
    a, _ = pair
    with udp(a.gateway.ports["clients"]) as client:
        for size in SIZES:
            datagram = bytes(number % 251 for number in range(size))
            assert asked(client, datagram) == datagram, size


def test_what_was_said_of_the_service_is_shown(pair: tuple[Node, Node]) -> None:
    a, b = pair
    assert a.config()["services"]["local"]["echo"]["protocol"] == "udp"
    assert b.config()["services"]["remote"]["echo"]["protocol"] == "udp"


def test_each_client_has_a_flow_of_its_own(pair: tuple[Node, Node]) -> None:
    a, b = pair
    before = serving(b)
    with ExitStack() as stack:
        clients = [stack.enter_context(udp(a.gateway.ports["clients"])) for _ in range(CLIENTS)]
        for number, client in enumerate(clients):
            client.send(b"client %d" % number)
        for number, client in enumerate(clients):
            assert client.recv(100) == b"client %d" % number
        assert serving(b) == before + CLIENTS


def test_datagrams_of_a_flow_keep_their_order(pair: tuple[Node, Node]) -> None:
    a, _ = pair
    with udp(a.gateway.ports["clients"]) as client:
        for number in range(IN_A_ROW):
            client.send(b"%d" % number)
        assert [int(client.recv(100)) for _ in range(IN_A_ROW)] == list(range(IN_A_ROW))


def test_a_service_of_bytes_is_not_one_of_datagrams(pair: tuple[Node, Node]) -> None:
    a, b = pair
    # The same name, for TCP at the other end: nobody answers, and both logs say why.
    target = ["127.0.0.1", b.gateway.ports["nobody"]]
    b.post("/service", name="other", type="remote", addr=target).raise_for_status()
    b.post("/bind", tunnel="t", service="other", type="remote").raise_for_status()
    address = ["127.0.0.1", a.gateway.ports["others"]]
    service = {"name": "other", "type": "local", "protocol": "udp"}
    a.post("/service", addr=address, **service).raise_for_status()
    a.post("/bind", tunnel="t", service="other", type="local").raise_for_status()
    with udp(a.gateway.ports["others"]) as client:
        client.send(b"anybody?")
        for node in (a, b):
            refused = partial(says, node, "no_service")
            until(refused, "the refusal in the log")


def says(node: Node, text: str) -> bool:
    """Tell whether a node's error log has a text."""
    return text in (node.gateway.prefix / "logs" / "error.log").read_text()
