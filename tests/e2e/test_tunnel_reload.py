"""`tunnels` changed by a reload: streams that are still allowed go on, others do not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import is_reset
from tests.harness.forwarding import Forwarding, seconds_to_reset, talks
from tests.harness.servers import echo, serve
from tests.harness.tunnels import (
    Node,
    configure,
    key_of,
    new_secret,
    reload,
    start_node,
    stop_node,
)
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STRANGER = f"peer other ed25519:{'3b' * 32};"


@pytest.fixture
def secret() -> str:
    return new_secret()


@pytest.fixture
def own_pair(secret: str, tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Give two gateways whose files a test may change."""
    a, b = (start_node(tmp_path / name, name, secret) for name in "ab")
    yield a, b
    stop_node(a)
    stop_node(b)


@pytest.fixture
def way(own_pair: tuple[Node, Node]) -> Iterator[Forwarding]:
    """Give a service over a tunnel with both of its carriers up."""
    with serve(echo) as target:
        way = Forwarding(*own_pair, target).make()
        wait_for_carriers(way, 2)
        yield way


def wait_for_carriers(way: Forwarding, count: int) -> None:
    def counts() -> list[int]:
        seen = (node.config()["tunnels"].get("t", {}) for node in (way.near, way.far))
        return [len(one.get("carriers", ())) for one in seen]

    until(lambda: counts() == [count, count], f"{count} carriers at both ends")


@contextmanager
def visited(way: Forwarding) -> Iterator[list[bool]]:
    """Have visitors come all the while, one after the other; tell which of them were served."""
    served: list[bool] = []
    is_over = threading.Event()

    def visit() -> None:
        while not is_over.is_set():
            try:
                served.append(way.is_served())
            except ConnectionResetError:
                served.append(False)

    with ThreadPoolExecutor(1) as pool:
        visiting = pool.submit(visit)
        try:
            yield served
        finally:
            is_over.set()
            visiting.result()


def connected(way: Forwarding) -> int:
    """Tell how many carriers ever came up."""
    count: int = way.near.config()["tunnels"]["t"]["connected"]
    return count


def change(node: Node, secret: str, more: str = "") -> None:
    """Reload another file."""
    configure(node.gateway, "ab", secret, more)
    assert "reconfigured" in reload(node)


@pytest.mark.parametrize(
    "more",
    [
        "heartbeat 2s;",
        "max_streams 7;",
        "handshake_timeout 3s;",
        STRANGER,
        "service other local 127.0.0.1:@other;",
    ],
)
def test_a_setting_that_carriers_do_not_depend_on_touches_none(
    way: Forwarding, secret: str, more: str
) -> None:
    before = connected(way)
    with way.visit() as visitor:
        for node in (way.near, way.far):
            change(node, secret, more)
            assert talks(visitor)
        for node in (way.near, way.far):
            change(node, secret)
            assert talks(visitor)
    assert way.is_served()
    assert connected(way) == before


def test_a_limit_counts_for_carriers_that_were_there_before(way: Forwarding, secret: str) -> None:
    with way.visit() as visitor:
        assert talks(visitor)
        change(way.far, secret, "max_streams 1;")
        assert seconds_to_reset(way.port, 1) < 1
        assert talks(visitor)
        change(way.far, secret)
        assert way.is_served()


def test_carriers_come_and_go_without_their_streams(way: Forwarding, secret: str) -> None:
    change(way.near, secret, "carriers 4;")
    wait_for_carriers(way, 4)
    visitors = [way.visit() for _ in range(16)]
    assert all(talks(visitor) for visitor in visitors)
    change(way.near, secret, "carriers 1;")
    assert all(talks(visitor) for visitor in visitors)
    assert way.is_served()
    for visitor in visitors:
        visitor.close()
    # Those that are too many end with their last stream.
    wait_for_carriers(way, 1)
    assert way.is_served()


@pytest.mark.parametrize("dialler", ["near", "far"])
def test_visitors_do_not_notice_that_carriers_are_exchanged(
    own_pair: tuple[Node, Node], secret: str, dialler: str
) -> None:
    near, far = own_pair
    by = near if dialler == "near" else far
    new = new_secret()
    with serve(echo) as target:
        way = Forwarding(near, far, target)
        assert way.tunnel(by).json()["state"] == "up"
        way.make(without="tunnel")
        wait_for_carriers(way, 2)
        with visited(way) as served:
            for more, count in (("carriers 4;", 4), ("carriers 1;", 1), ("", 2)):
                change(by, secret, more)
                wait_for_carriers(way, count)
            for secrets in (f"{secret}; secret {new}", f"{new}; secret {secret}", new):
                for node in (near, far):
                    change(node, secrets)
                wait_for_carriers(way, 2)
        assert len(served) > 10
        assert all(served)


def test_a_tunnel_of_the_file_is_not_touched_by_lines_above_it(
    secret: str, own_pair: tuple[Node, Node]
) -> None:
    a, b = own_pair
    line = f"tunnel t 127.0.0.1:{b.tunnel_port};"
    with serve(echo) as target:
        change(a, secret, line)
        way = Forwarding(a, b, target).make(without="tunnel")
        wait_for_carriers(way, 2)
        with way.visit() as visitor:
            assert talks(visitor)
            change(a, secret, f"# One more line,\n# and another one.\n{line}")
            assert talks(visitor)
        assert connected(way) == 2


def test_a_secret_takes_the_place_of_another_without_a_break(way: Forwarding, secret: str) -> None:
    new = new_secret()
    with way.visit() as visitor:
        # Believed everywhere first, then used to dial.
        for secrets in (f"{secret}; secret {new}", f"{new}; secret {secret}"):
            for node in (way.far, way.near):
                change(node, secrets)
                assert talks(visitor)
        until(lambda: connected(way) == 4, "carriers with the new secret")
        with way.visit() as later:
            assert talks(later)
            assert talks(visitor)
            # The old one goes, and with it whoever has shown nothing else.
            change(way.far, new)
            assert is_reset(visitor)
            assert talks(later)
            change(way.near, new)
            assert talks(later)
        wait_for_carriers(way, 2)
        assert way.is_served()


@pytest.mark.parametrize("side", ["near", "far"])
def test_a_secret_that_is_replaced_at_once_ends_what_relied_on_it(
    way: Forwarding, secret: str, side: str
) -> None:
    new = new_secret()
    first, last = (way.near, way.far) if side == "near" else (way.far, way.near)
    with way.visit() as visitor:
        assert talks(visitor)
        change(first, new)
        assert is_reset(visitor)
    until(lambda: way.near.state_of("t") == "auth_failed", "the refusal")
    change(last, new)
    # Not before half a minute is over, unless somebody asks for it.
    assert way.tunnel().json()["state"] == "up"
    assert way.is_served()


def test_a_peer_that_is_struck_out_is_sent_away(tmp_path: Path) -> None:
    keys = {name: key_of(tmp_path / name) for name in "ab"}
    a = start_node(tmp_path / "a", "a", new_secret(), f"peer b {keys['b']};")
    b = start_node(tmp_path / "b", "b", new_secret(), f"peer a {keys['a']};")
    with serve(echo) as target:
        way = Forwarding(a, b, target)
        dest = ["127.0.0.1", b.tunnel_port]
        assert a.post("/tunnel", name="t", dest=dest, peer="b").json()["state"] == "up"
        way.make(without="tunnel")
        with way.visit() as visitor:
            assert talks(visitor)
            # Still allowed: one more peer, and a rule that the tunnel's name fits.
            change(b, new_secret(), f"peer a {keys['a']} tunnels=t*; {STRANGER}")
            assert talks(visitor)
            change(b, new_secret(), f"peer a {keys['a']} tunnels=other;")
            assert is_reset(visitor)
        until(lambda: a.state_of("t") == "auth_failed", "the refusal")
        change(b, new_secret(), STRANGER)
        assert b.client.get("/v1/peers").json()["handshakes"]["refused"] > 0
        before = b.client.get("/v1/peers").json()["handshakes"]["not_trusted"]
        assert "authentication failed" in a.post("/tunnel", name="u", dest=dest, peer="b").text
        assert b.client.get("/v1/peers").json()["handshakes"]["not_trusted"] == before + 1
    stop_node(a)
    stop_node(b)
