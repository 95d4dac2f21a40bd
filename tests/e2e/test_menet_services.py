"""`/service` and `/bind`: what becomes of streams when they go, and addresses that change."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import is_reset
from tests.harness.forwarding import Forwarding, echoed, is_refused, seconds_to_reset, talks
from tests.harness.servers import accept, echo, listen, port_of, serve

if TYPE_CHECKING:
    from tests.harness.tunnels import Node

PARTS = ["/service local", "/service remote", "/bind local", "/bind remote"]


def remove(way: Forwarding, part: str, query: str = "") -> None:
    path, kind = part.split()
    node = way.near if kind == "local" else way.far
    names = {"name": "s"} if path == "/service" else {"tunnel": "t", "service": "s"}
    answer = node.delete(path, query, type=kind, **names)
    assert (answer.status_code, answer.json()["changed"]) == (200, True)


@pytest.mark.parametrize("query", ["", "?streams=keep"])
@pytest.mark.parametrize("part", PARTS)
def test_established_streams_outlive_what_led_to_them(
    pair: tuple[Node, Node], part: str, query: str
) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        with way.visit() as visitor:
            assert talks(visitor)
            remove(way, part, query)
            assert talks(visitor, b"still" * 10_000)


@pytest.mark.parametrize("part", PARTS)
def test_streams_are_reset_at_both_ends_if_that_is_asked_for(
    pair: tuple[Node, Node], part: str
) -> None:
    with listen() as target:
        way = Forwarding(*pair, port_of(target)).make()
        with way.visit() as visitor:
            visitor.sendall(b"x")
            with accept(target) as served:
                assert served.recv(1) == b"x"
                remove(way, part, "?streams=reset")
                assert is_reset(visitor)
                assert is_reset(served)


def test_streams_of_other_services_are_not_reset(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        ways = [Forwarding(*pair, target, service).make() for service in ("s", "other")]
        with ways[0].visit() as cut, ways[1].visit() as kept:
            assert talks(cut)
            assert talks(kept)
            remove(ways[0], "/bind remote", "?streams=reset")
            assert is_reset(cut)
            assert talks(kept)


def test_new_visitors_of_a_removed_local_service_are_refused(pair: tuple[Node, Node]) -> None:
    way = Forwarding(*pair, 9).make()
    remove(way, "/service local")
    assert is_refused(way.port)


@pytest.mark.parametrize("part", ["/service remote", "/bind remote"])
def test_new_visitors_of_what_is_gone_at_the_far_side_are_reset_at_once(
    pair: tuple[Node, Node], part: str
) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        assert way.is_served()
        remove(way, part)
        assert seconds_to_reset(way.port) < 0.1


def test_new_visitors_of_an_unbound_service_are_held_until_it_is_bound_again(
    pair: tuple[Node, Node],
) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        remove(way, "/bind local")
        with way.visit() as visitor:
            visitor.sendall(b"x")
            way.bind_local()
            assert visitor.recv(1) == b"x"


@pytest.mark.parametrize("part", PARTS)
def test_what_is_unknown_can_be_removed_and_nothing_changes(
    pair: tuple[Node, Node], part: str
) -> None:
    path, kind = part.split()
    names = {"name": "none"} if path == "/service" else {"tunnel": "none", "service": "none"}
    answer = pair[0].delete(path, type=kind, **names)
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "changed": False})


def test_a_local_service_that_changes_at_its_address_never_stops_listening(
    pair: tuple[Node, Node],
) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        ending, failures, visits = threading.Event(), [], []

        def visit() -> None:
            while not ending.is_set():
                try:
                    assert echoed(way.port, b"x") == b"x"
                    visits.append(1)
                except (OSError, AssertionError) as error:
                    failures.append(repr(error))

        with way.visit() as established:
            assert talks(established)
            visitor = threading.Thread(target=visit)
            visitor.start()
            for timeout in range(1000, 1040):
                assert way.local(pending_timeout=timeout).json()["changed"] is True
                assert way.local(pending_timeout=timeout).json()["changed"] is False
            ending.set()
            visitor.join(10)
            assert talks(established)
        assert (failures, len(visits) > 0) == ([], True)


def test_a_new_key_counts_for_new_streams(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        with way.visit() as established:
            assert talks(established)
            way.remote(key="new")
            assert seconds_to_reset(way.port, 1) < 1
            way.local(key="new")
            assert way.is_served()
            assert talks(established)


def test_a_local_service_moves_to_another_port(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        other = way.near.gateway.ports["other"]
        with way.visit() as established:
            assert talks(established)
            assert way.local(addr=["127.0.0.1", other]).json()["changed"] is True
            assert echoed(other, b"moved") == b"moved"
            assert is_refused(way.port)
            assert talks(established)


def test_the_kernel_chooses_port_0_and_the_answer_tells_it(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        answer = way.local(addr=["127.0.0.1", 0]).json()
        assert echoed(answer["port"], b"x") == b"x"
        again = way.local(addr=["127.0.0.1", 0]).json()
        assert (again["changed"], again["port"]) == (False, answer["port"])


def test_an_address_that_cannot_be_had_leaves_the_old_one_untouched(
    pair: tuple[Node, Node],
) -> None:
    with serve(echo) as target, listen() as foreign:
        way = Forwarding(*pair, target).make()
        gateway = way.near.gateway
        other = Forwarding(*pair, target, "other").make()
        conflicts = {
            port_of(foreign): "address_in_use",
            other.port: "service:other",
            gateway.ports["control_api"]: "control address",
            gateway.ports["tunnels"]: "tunnels",
        }
        for port, reason in conflicts.items():
            for host in ("127.0.0.1", "0.0.0.0"):
                answer = way.local(addr=[host, port])
                assert (answer.status_code, host) == (409, host), (port, reason, answer.text)
                assert "address_in_use" in answer.json()["reason"]
                assert host != "127.0.0.1" or reason in answer.json()["reason"]
        elsewhere = way.local(addr=["203.0.113.1", 80])
        assert elsewhere.status_code == 400
        assert "address_not_local" in elsewhere.json()["reason"]
        assert way.is_served()
        assert way.near.config()["services"]["local"]["s"]["addr"] == f"127.0.0.1:{way.port}"


def test_a_new_service_at_an_address_that_is_taken_is_not_there(pair: tuple[Node, Node]) -> None:
    way = Forwarding(*pair, 9)
    assert way.local().status_code == 200
    taken = Forwarding(*pair, 9, "taken")
    assert taken.local(addr=["127.0.0.1", way.port]).status_code == 409
    assert list(way.near.config()["services"]["local"]) == ["s"]
