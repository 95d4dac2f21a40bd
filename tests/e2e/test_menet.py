"""Menet's four paths on two gateways: five calls make a service reachable through a tunnel."""

from __future__ import annotations

import socket
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import connect, read_all
from tests.harness.servers import echo, serve
from tests.harness.tunnels import Node, new_secret, start_node, stop_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

KEY = "UHI@&s8sa*S"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """Give two gateways that share a secret."""
    secret = new_secret()
    folder = tmp_path_factory.mktemp("menet")
    a, b = (start_node(folder / name, name, secret) for name in "ab")
    yield a, b
    stop_node(a)
    stop_node(b)


def clear(*nodes: Node) -> None:
    for node in nodes:
        config = node.config()
        for name in config["tunnels"]:
            node.delete("/tunnel", name=name)
        for kind in ("local", "remote"):
            for service, tunnels in config["bind"][kind].items():
                for tunnel in tunnels:
                    node.delete("/bind", tunnel=tunnel, service=service, type=kind)
            for service in config["services"][kind]:
                node.delete("/service", name=service, type=kind)


def echoed(port: int, data: bytes) -> bytes:
    """Send, end, and read what comes back to its end."""
    with connect(port) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def calls(a: Node, b: Node, port: int, target: int) -> list[Callable[[], httpx.Response]]:
    """List the five calls that the seed makes."""
    return [
        lambda: a.post("/tunnel", name="t", dest=["127.0.0.1", str(b.tunnel_port)]),
        lambda: a.post("/service", name="s", key=KEY, type="local", addr=["127.0.0.1", str(port)]),
        lambda: b.post("/service", name="s", key=KEY, type="remote", addr=["127.0.0.1", target]),
        lambda: a.post("/bind", tunnel="t", service="s", type="local"),
        lambda: b.post("/bind", tunnel="t", service="s", type="remote"),
    ]


def test_the_five_calls_work_in_every_order(pair: tuple[Node, Node]) -> None:
    a, b = pair
    port = a.gateway.ports["visitors"]
    with serve(echo) as target:
        for order in permutations(range(5)):
            made = calls(a, b, port, target)
            for index in order:
                answer = made[index]()
                assert answer.status_code == 200, (order, index, answer.text)
                assert answer.json()["ok"] is True
            assert echoed(port, b"hello") == b"hello", order
            clear(a, b)


def test_a_call_that_changes_nothing_says_so_and_touches_nothing(pair: tuple[Node, Node]) -> None:
    a, b = pair
    with serve(echo) as target:
        made = calls(a, b, a.gateway.ports["visitors"], target)
        assert [call().json()["changed"] for call in made] == [True] * 5
        before = a.config()["tunnels"]["t"]
        assert [call().json()["changed"] for call in made] == [False] * 5
        after = a.config()["tunnels"]["t"]
        assert after["connected"] == before["connected"]
    clear(a, b)


def test_a_tunnel_that_cannot_be_brought_up_changes_nothing(pair: tuple[Node, Node]) -> None:
    a, b = pair
    with serve(echo) as target:
        for call in calls(a, b, a.gateway.ports["visitors"], target):
            call()
        refused = a.post("/tunnel", name="t", dest=["127.0.0.1", a.gateway.ports["nobody"]])
        assert refused.status_code == 502
        assert "Connection refused" in refused.json()["reason"]
        assert echoed(a.gateway.ports["visitors"], b"still") == b"still"
    clear(a, b)
