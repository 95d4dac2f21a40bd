"""`/tunnel`: up when the call answers, and nothing that works is torn down by one that fails."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import is_reset
from tests.harness.forwarding import (
    Forwarding,
    nobody_came,
    seconds_until_reset,
    talks,
)
from tests.harness.servers import accept, echo, listen, port_of, serve
from tests.harness.tunnels import Node, new_secret, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

SOON = 0.1


def is_turned_away(way: Forwarding) -> bool:
    try:
        with way.visit() as visitor:
            return not talks(visitor)
    except ConnectionError:
        return True


def is_down(node: Node) -> bool:
    return node.state_of("t") is None


def test_a_tunnel_is_up_at_both_ends_when_the_call_returns(pair: tuple[Node, Node]) -> None:
    a, b = pair
    answer = Forwarding(a, b, 9).tunnel()
    assert answer.json() == {"ok": True, "changed": True, "state": "up"}
    assert a.state_of("t") == "up"
    until(lambda: b.state_of("t") == "up", "the other end", 1)
    carrier = a.config()["tunnels"]["t"]["carriers"][0]
    assert (carrier["node"], carrier["role"]) == ("b", "dialler")
    assert carrier["key"].startswith("ed25519:")


def test_a_dead_destination_is_an_error_and_nothing_is_stored(pair: tuple[Node, Node]) -> None:
    a, _ = pair
    answer = a.post("/tunnel", name="t", dest=["127.0.0.1", a.gateway.ports["nobody"]])
    assert answer.status_code == 502
    assert "Connection refused" in answer.json()["reason"]
    assert "t" not in a.config()["tunnels"]


def test_a_destination_that_says_nothing_is_an_error_in_time(tmp_path: Path) -> None:
    a = start_node(tmp_path, "a", new_secret(), "handshake_timeout 300ms;")
    with listen() as silent:
        began = time.monotonic()
        answer = a.post("/tunnel", name="t", dest=["127.0.0.1", port_of(silent)])
        assert (answer.status_code, time.monotonic() - began < 2) == (502, True)
        assert answer.json()["reason"].endswith("timed out")
    assert a.config()["tunnels"] == {}
    stop_node(a)


def test_a_wrong_secret_is_an_error_and_nothing_is_stored(
    pair: tuple[Node, Node], tmp_path: Path
) -> None:
    stranger = start_node(tmp_path, "stranger", new_secret())
    answer = stranger.post("/tunnel", name="t", dest=["127.0.0.1", pair[0].tunnel_port])
    assert answer.status_code == 502
    assert answer.json()["reason"].endswith("authentication failed")
    assert stranger.config()["tunnels"] == {}
    assert "t" not in pair[0].config()["tunnels"]
    stop_node(stranger)


def test_a_working_tunnel_outlives_a_call_that_fails(pair: tuple[Node, Node]) -> None:
    a, b = pair
    with serve(echo) as target:
        way = Forwarding(a, b, target).make()
        before = a.config()["tunnels"]["t"]
        with way.visit() as visitor:
            assert talks(visitor)
            dead = ["127.0.0.1", a.gateway.ports["nobody"]]
            assert a.post("/tunnel", name="t", dest=dead).status_code == 502
            no_dest = a.post("/tunnel", name="t")
            assert no_dest.status_code == 400
            assert "dest" in no_dest.json()["reason"]
            assert talks(visitor)
        assert way.is_served()
        after = a.config()["tunnels"]["t"]
        assert (after["dest"], after["connected"]) == (before["dest"], before["connected"])


def test_the_same_tunnel_again_changes_nothing_and_touches_no_connection(
    pair: tuple[Node, Node],
) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        until(lambda: len(way.near.config()["tunnels"]["t"]["carriers"]) == 2, "both carriers")
        before = way.near.config()["tunnels"]["t"]["connected"]
        with way.visit() as visitor:
            for _ in range(5):
                answer = way.tunnel().json()
                assert answer == {"ok": True, "changed": False, "state": "up"}
            assert talks(visitor)
        assert way.near.config()["tunnels"]["t"]["connected"] == before


@pytest.mark.parametrize("deleter", [0, 1], ids=["by-the-dialler", "by-the-acceptor"])
def test_a_removed_tunnel_resets_its_streams_at_both_ends_and_stays_away(
    pair: tuple[Node, Node], deleter: int
) -> None:
    with listen() as target:
        way = Forwarding(*pair, port_of(target)).make()
        with way.visit() as visitor:
            visitor.sendall(b"x")
            with accept(target) as served:
                assert served.recv(1) == b"x"
                began = time.monotonic()
                assert pair[deleter].delete("/tunnel", name="t").json()["changed"] is True
                assert seconds_until_reset(visitor, began) < 1
                assert is_reset(served)
        until(lambda: is_down(pair[1]), "the acceptor")
        assert pair[0].state_of("t") in {None, "removed"}
        way.local(pending_timeout=100)
        with way.visit() as late:
            assert is_reset(late)
        assert nobody_came(target)


@pytest.mark.parametrize("deleter", [0, 1], ids=["by-the-dialler", "by-the-acceptor"])
def test_only_the_tunnel_has_to_be_posted_again(pair: tuple[Node, Node], deleter: int) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        for _ in range(3):
            assert pair[deleter].delete("/tunnel", name="t").status_code == 200
            answer = way.tunnel().json()
            assert (answer["ok"], answer["state"]) == (True, "up")
            assert way.is_served()


def test_streams_are_reset_within_100_ms_of_the_removal(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target)

        def seconds() -> float:
            way.make()
            with way.visit() as visitor, ThreadPoolExecutor(1) as pool:
                assert talks(visitor)
                reset = pool.submit(lambda: (is_reset(visitor), time.monotonic()))
                began = time.monotonic()
                way.near.delete("/tunnel", name="t")
                was_reset, at = reset.result()
                assert was_reset
                return at - began

        assert min(seconds() for _ in range(3)) < SOON


def test_a_drained_tunnel_lets_its_streams_finish(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target, ThreadPoolExecutor(1) as pool:
        way = Forwarding(*pair, target).make()
        way.local(pending_timeout=100)
        with way.visit() as visitor:
            assert talks(visitor)
            removal = pool.submit(way.near.delete, "/tunnel", "?drain=10s", name="t")
            until(lambda: is_turned_away(way), "new visitors to be turned away")
            assert talks(visitor)
            assert not removal.done()
        assert removal.result(5).json()["changed"] is True
        assert is_down(way.near)


def test_a_drain_ends_at_its_time(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        with way.visit() as visitor:
            assert talks(visitor)
            began = time.monotonic()
            assert way.near.delete("/tunnel", "?drain=200ms", name="t").status_code == 200
            assert 0.2 <= time.monotonic() - began < 3
            assert is_reset(visitor)


def test_an_unknown_tunnel_can_be_removed_and_nothing_changes(pair: tuple[Node, Node]) -> None:
    answer = pair[0].delete("/tunnel", name="unknown")
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "changed": False})


def test_a_visitor_of_a_tunnel_that_is_being_removed_is_never_left_in_limbo(
    pair: tuple[Node, Node],
) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        way.local(pending_timeout=100)
        ending = threading.Event()

        def visit_forever() -> int:
            visits = 0
            while not ending.is_set():
                try:
                    with way.visit() as visitor:
                        visitor.sendall(b"x")
                        visitor.recv(1)
                except ConnectionError:
                    pass  # reset: told at once, which is the promise
                visits += 1
            return visits

        with ThreadPoolExecutor(4) as pool:
            visits = [pool.submit(visit_forever) for _ in range(4)]
            for _ in range(5):
                way.near.delete("/tunnel", name="t")
                way.tunnel()
            ending.set()
            assert all(visit.result(10) > 0 for visit in visits)
        until(lambda: way.far.config()["connections"]["t"]["serving"] == 0, "no orphan streams")
