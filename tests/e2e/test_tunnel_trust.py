"""Who may bring up a tunnel: pinned keys, names that belong to others, strangers, and limits."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import connect
from tests.harness.forwarding import Forwarding, seconds_to_reset, talks
from tests.harness.servers import echo, serve
from tests.harness.tunnels import Node, key_of, new_secret, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, folder: Path, name: str, more: str, secret: str = "") -> Node:
    """Start a node; without a common secret it has one of its own."""
    node = start_node(folder / name, name, secret or new_secret(), more)
    stack.callback(stop_node, node)
    return node


def test_pinned_keys_need_no_common_secret(stack: ExitStack, tmp_path: Path) -> None:
    keys = {name: key_of(tmp_path / name) for name in "ab"}
    a = start(stack, tmp_path, "a", f"peer b {keys['b']};")
    b = start(stack, tmp_path, "b", f"peer a {keys['a']};")
    dest = ["127.0.0.1", b.tunnel_port]
    assert a.post("/tunnel", name="t", dest=dest, peer="b").json()["state"] == "up"
    assert a.config()["tunnels"]["t"]["carriers"][0]["key"] == keys["b"]


def test_another_key_than_the_pinned_one_is_not_trusted(stack: ExitStack, tmp_path: Path) -> None:
    keys = {name: key_of(tmp_path / name) for name in "abc"}
    a = start(stack, tmp_path, "a", f"peer b {keys['b']};")
    stranger = start(stack, tmp_path, "c", f"peer a {keys['a']};")
    dest = ["127.0.0.1", stranger.tunnel_port]
    answer = a.post("/tunnel", name="t", dest=dest, peer="b")
    assert (answer.status_code, "authentication failed" in answer.text) == (502, True)


def test_a_peer_brings_up_only_tunnels_that_it_may(stack: ExitStack, tmp_path: Path) -> None:
    keys = {name: key_of(tmp_path / name) for name in "ab"}
    a = start(stack, tmp_path, "a", f"peer b {keys['b']};")
    b = start(stack, tmp_path, "b", f"peer a {keys['a']} tunnels=home,office-*;")
    dest = ["127.0.0.1", b.tunnel_port]
    for name in ("home", "office-1"):
        assert a.post("/tunnel", name=name, dest=dest, peer="b").status_code == 200
    other = a.post("/tunnel", name="other", dest=dest, peer="b")
    assert (other.status_code, "forbidden" in other.text) == (502, True)


def test_a_name_belongs_to_who_came_first(stack: ExitStack, tmp_path: Path) -> None:
    secret = new_secret()
    first, second, b = (start(stack, tmp_path, name, "", secret) for name in ("x", "y", "b"))
    dest = ["127.0.0.1", b.tunnel_port]
    assert first.post("/tunnel", name="t", dest=dest).status_code == 200
    taken = second.post("/tunnel", name="t", dest=dest)
    assert (taken.status_code, "name_taken" in taken.text) == (502, True)
    assert second.config()["tunnels"] == {}
    assert b.config()["tunnels"]["t"]["carriers"][0]["node"] == "x"


def test_a_name_that_is_dialled_belongs_to_who_is_dialled(stack: ExitStack, tmp_path: Path) -> None:
    keys = {name: key_of(tmp_path / name) for name in "abc"}
    a = start(stack, tmp_path, "a", f"peer b {keys['b']}; peer c {keys['c']};")
    b, other = (start(stack, tmp_path, name, f"peer a {keys['a']};") for name in "bc")
    # Nobody is at the other end yet.
    later = f"127.0.0.1:{a.gateway.ports['later']}"
    assert a.client.put("/v1/tunnels/t", json={"dest": later, "peer": "b"}).status_code == 202
    taken = other.post("/tunnel", name="t", dest=["127.0.0.1", a.tunnel_port], peer="a")
    assert (taken.status_code, "name_taken" in taken.text) == (502, True)
    # The node that is dialled may come from its side, too.
    came = b.post("/tunnel", name="t", dest=["127.0.0.1", a.tunnel_port], peer="a")
    assert came.json()["state"] == "up"


def test_who_came_under_a_dialled_name_gives_way_to_who_is_dialled(
    stack: ExitStack, tmp_path: Path
) -> None:
    secret = new_secret()
    a, other = (start(stack, tmp_path, name, "", secret) for name in "ac")
    port = a.gateway.ports["later"]
    a.client.put("/v1/tunnels/t", json={"dest": f"127.0.0.1:{port}"})
    assert other.post("/tunnel", name="t", dest=["127.0.0.1", a.tunnel_port]).status_code == 200
    b = start(stack, tmp_path, "b", f"listen 127.0.0.1:{port};", secret)
    a.client.put("/v1/tunnels/t", json={"dest": f"127.0.0.1:{port}"})
    until(lambda: others_of(a) == {"b"}, "the other node to be sent away")
    until(lambda: other.state_of("t") == "auth_failed", "it to be told")
    assert b.state_of("t") == "up"


def others_of(node: Node) -> set[str]:
    """Name those at the other ends of tunnel `t`."""
    return {carrier["node"] for carrier in node.config()["tunnels"]["t"]["carriers"]}


def test_strangers_delay_nobody_and_harm_nothing(pair: tuple[Node, Node]) -> None:
    a, b = pair
    with ExitStack() as strangers, serve(echo) as target:
        for number in range(50):
            stranger = strangers.enter_context(connect(b.tunnel_port))
            if number % 2:
                stranger.sendall(os.urandom(1000))
        way = Forwarding(a, b, target).make()
        assert way.is_served()
        assert b.client.get("/v1/peers").json()["handshakes"]["under_way"] >= 25
        assert 'qanat_tunnel_handshakes_total{outcome="not_tls"}' in b.client.get("/metrics").text


def test_more_streams_than_max_streams_are_refused(stack: ExitStack, tmp_path: Path) -> None:
    secret = new_secret()
    a = start(stack, tmp_path, "a", "", secret)
    b = start(stack, tmp_path, "b", "max_streams 3;", secret)
    with serve(echo) as target, ExitStack() as visitors:
        way = Forwarding(a, b, target).make()
        served = [visitors.enter_context(way.visit()) for _ in range(3)]
        assert all(talks(visitor) for visitor in served)
        assert seconds_to_reset(way.port, 1) < 1
        assert a.gateway.wait_for_log("refused by the other end of tunnel t: limit")
        assert all(talks(visitor) for visitor in served)
