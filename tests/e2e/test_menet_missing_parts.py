"""What visitors meet while a part of a forwarded service is missing, and what must not happen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import connect, is_reset
from tests.harness.forwarding import (
    Forwarding,
    is_refused,
    nobody_came,
    seconds_to_reset,
    talks,
)
from tests.harness.servers import echo, listen, port_of, serve

if TYPE_CHECKING:
    from tests.harness.tunnels import Node

AT_ONCE = 0.1


def refused(node: Node) -> int:
    count: int = node.config()["connections"]["t"]["refused"]
    return count


@pytest.mark.parametrize("missing", ["tunnel", "bind_local"])
def test_a_visitor_is_held_until_the_missing_part_comes(
    pair: tuple[Node, Node], missing: str
) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make(without=missing)
        with way.visit() as visitor:
            visitor.sendall(b"early")
            assert getattr(way, missing)().status_code == 200
            assert visitor.recv(5) == b"early"
            assert talks(visitor)


@pytest.mark.parametrize("missing", ["tunnel", "bind_local"])
def test_a_visitor_is_held_no_longer_than_pending_timeout_and_then_reset(
    pair: tuple[Node, Node], missing: str
) -> None:
    way = Forwarding(*pair, 9).make(without=missing)
    assert way.local(pending_timeout=200).status_code == 200
    assert 0.2 <= seconds_to_reset(way.port, 3) < 0.2 + AT_ONCE


def test_pending_timeout_is_five_seconds_unless_said_otherwise(pair: tuple[Node, Node]) -> None:
    way = Forwarding(*pair, 9)
    way.local()
    assert way.near.config()["services"]["local"]["s"]["pending_timeout"] == 5000


@pytest.mark.parametrize("missing", ["tunnel", "bind_local"])
def test_a_service_that_closes_while_down_resets_visitors_at_once(
    pair: tuple[Node, Node], missing: str
) -> None:
    way = Forwarding(*pair, 9).make(without=missing)
    way.local(when_down="close")
    assert seconds_to_reset(way.port) < AT_ONCE


def test_without_a_remote_service_a_visitor_is_reset_at_once(pair: tuple[Node, Node]) -> None:
    way = Forwarding(*pair, 9).make(without="remote")
    before = refused(way.far)
    assert seconds_to_reset(way.port) < AT_ONCE
    assert refused(way.far) == before + 5
    assert "no_service" in way.far.gateway.wait_for_log("service s refused: no_service")


def test_without_a_remote_binding_the_target_is_never_dialled(pair: tuple[Node, Node]) -> None:
    with listen() as target:
        way = Forwarding(*pair, port_of(target)).make(without="bind_remote")
        before = refused(way.far)
        assert seconds_to_reset(way.port) < AT_ONCE
        assert refused(way.far) == before + 5
        assert way.far.gateway.wait_for_log("service s refused: not_bound")
        assert nobody_came(target)


def test_without_a_local_service_nobody_listens(pair: tuple[Node, Node]) -> None:
    way = Forwarding(*pair, 9).make(without="local")
    assert is_refused(way.port)


def test_a_target_that_is_down_resets_its_visitors_until_it_is_back(
    pair: tuple[Node, Node],
) -> None:
    port = pair[1].gateway.ports["refusing"]
    way = Forwarding(*pair, port).make()
    assert seconds_to_reset(way.port) < AT_ONCE
    with serve(echo, listen(port=port)):
        assert way.is_served()


@pytest.mark.parametrize(
    ("near", "far"), [("one", "other"), ("one", ""), ("", "other")], ids=["differ", "near", "far"]
)
def test_with_keys_that_differ_the_target_is_never_dialled_and_both_logs_say_so(
    pair: tuple[Node, Node], near: str, far: str
) -> None:
    with listen() as target:
        way = Forwarding(*pair, port_of(target)).make()
        way.local(key=near)
        way.remote(key=far)
        before = [node.gateway.error_log().count("key_mismatch") for node in pair]
        assert seconds_to_reset(way.port, 1) < 1
        assert refused(way.far) >= 1
        for node, count in zip(pair, before, strict=True):
            while node.gateway.error_log().count("key_mismatch") == count:
                node.gateway.wait_for_log("key_mismatch")
                time.sleep(0.005)
        assert nobody_came(target)


def test_services_without_a_key_need_none(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        way.local(key=None)
        way.remote(key=None)
        assert way.is_served()


def test_a_target_that_answers_nobody_ends_the_wait_at_its_timeout(
    pair: tuple[Node, Node],
) -> None:
    with listen() as full:
        full.listen(0)
        # Connections that nobody takes fill the queue; the next ones get no answer.
        waiting = [connect(port_of(full))]
        way = Forwarding(*pair, port_of(full)).make()
        way.remote(timeout=300)
        with way.visit() as visitor:
            assert is_reset(visitor)
        for one in waiting:
            one.close()
