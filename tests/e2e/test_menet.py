"""Menet's four paths on two gateways: five calls make a service reachable through a tunnel."""

from __future__ import annotations

import time
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import connect
from tests.harness.forwarding import CALLS, Forwarding, clear, is_refused, nobody_came
from tests.harness.servers import echo, listen, port_of, serve, tagged_after_request

if TYPE_CHECKING:
    from tests.harness.tunnels import Node


def test_the_five_calls_work_in_every_order(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target)
        for order in permutations(CALLS):
            for name in order:
                answer = getattr(way, name)()
                assert answer.status_code == 200, (order, name, answer.text)
                assert answer.json()["ok"] is True
            assert way.is_served(), order
            clear(*pair)


def test_a_call_says_whether_it_has_changed_anything(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target)
        for is_new in (True, False):
            assert [getattr(way, name)().json()["changed"] for name in CALLS] == [is_new] * 5


def test_a_listener_opens_at_once_and_no_target_is_dialled_before_a_visitor_comes(
    pair: tuple[Node, Node],
) -> None:
    with listen() as target:
        way = Forwarding(*pair, port_of(target))
        assert is_refused(way.port)
        answer = way.local()
        assert answer.json()["port"] == way.port
        assert not is_refused(way.port)
        way.make()
        assert nobody_came(target)


@pytest.mark.parametrize("dialler", [0, 1], ids=["a-dials", "b-dials"])
@pytest.mark.parametrize("listener", [0, 1], ids=["a-listens", "b-listens"])
def test_either_side_dials_and_either_side_listens(
    pair: tuple[Node, Node], dialler: int, listener: int
) -> None:
    with serve(echo) as target:
        way = Forwarding(pair[listener], pair[1 - listener], target)
        assert way.tunnel(by=pair[dialler]).json()["state"] == "up"
        way.make(without="tunnel")
        assert way.is_served()
        roles = [node.config()["tunnels"]["t"]["carriers"][0]["role"] for node in pair]
        assert roles[dialler] == "dialler"
        assert roles[1 - dialler] == "acceptor"


def test_the_first_byte_is_back_within_five_milliseconds(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()

        def seconds_to_answer() -> float:
            began = time.monotonic()
            with connect(way.port) as visitor:
                visitor.sendall(b"x")
                assert visitor.recv(1) == b"x"
                return time.monotonic() - began

        # The fastest of many counts: how busy this machine is does not.
        assert min(seconds_to_answer() for _ in range(20)) < 0.005


def test_many_services_in_both_directions_share_a_tunnel(pair: tuple[Node, Node]) -> None:
    a, b = pair
    for near, far, service in [(a, b, "one"), (a, b, "two"), (b, a, "three")]:
        with serve(tagged_after_request(service)) as target:
            way = Forwarding(near, far, target, service)
            way.make(without="tunnel" if service == "three" else "")
            with way.visit() as visitor:
                visitor.sendall(b"?")
                assert visitor.recv(100) == f"{service}:?".encode()
