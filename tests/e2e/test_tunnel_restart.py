"""Tunnels, services and bindings outlive their gateway: stops, kill -9, reloads, and the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.harness.forwarding import Forwarding, echoed, is_refused, talks
from tests.harness.servers import echo, listen, serve
from tests.harness.tunnels import (
    Node,
    configure,
    new_secret,
    reload,
    start_again,
    start_node,
    stop_node,
)
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def own_pair(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Give two gateways that a test may restart."""
    secret = new_secret()
    a, b = (start_node(tmp_path / name, name, secret) for name in "ab")
    yield a, b
    stop_node(a)
    stop_node(b)


def is_up(node: Node) -> bool:
    return node.state_of("t") == "up"


def stored(node: Node) -> dict[str, Any]:
    """Read what is to survive."""
    config = node.config()
    dialled = {name: seen["dest"] for name, seen in config["tunnels"].items() if "dest" in seen}
    return {"tunnels": dialled, "services": config["services"], "bind": config["bind"]}


@pytest.mark.parametrize("end", ["stop", "kill"])
@pytest.mark.parametrize("side", [0, 1], ids=["the-dialler", "the-acceptor"])
def test_everything_comes_back_by_itself(own_pair: tuple[Node, Node], side: int, end: str) -> None:
    with serve(echo) as target:
        ways = [
            Forwarding(*own_pair, target).make(),
            Forwarding(own_pair[1], own_pair[0], target, "back").make(without="tunnel"),
        ]
        assert all(way.is_served() for way in ways)
        node, other = own_pair[side], own_pair[1 - side]
        before = stored(node)
        getattr(node.gateway, end)()
        until(lambda: not is_up(other), "the other side to notice")
        start_again(node)
        # Visitors are held until the tunnel is there, and nothing has to be posted again.
        assert all(way.is_served() for way in ways)
        assert stored(node) == before
        assert until(lambda: is_up(other), "the other side")


def test_a_dialler_that_is_killed_again_and_again_is_always_let_in(
    own_pair: tuple[Node, Node],
) -> None:
    a, b = own_pair
    with serve(echo) as target:
        way = Forwarding(a, b, target).make()
        for _ in range(3):
            a.gateway.kill()
            start_again(a)
            assert way.is_served()
        for refusal in ("name_taken", "superseded by", "exists"):
            assert refusal not in a.gateway.error_log() + b.gateway.error_log()


def test_a_service_whose_port_others_have_taken_keeps_nothing_else_from_coming_back(
    own_pair: tuple[Node, Node],
) -> None:
    a, b = own_pair
    with serve(echo) as target:
        way = Forwarding(a, b, target).make()
        other = Forwarding(a, b, target, "other").make(without="tunnel")
        a.gateway.kill()
        with listen(port=way.port):
            start_again(a)
            assert other.is_served()
            assert list(a.config()["services"]["local"]) == ["other"]
            assert f"stored local s is not used: bind() to 127.0.0.1:{way.port} failed" in (
                a.gateway.error_log()
            )
        a.gateway.kill()
        start_again(a)
        assert way.is_served()


def test_what_was_removed_stays_away_after_a_restart(own_pair: tuple[Node, Node]) -> None:
    a, b = own_pair
    with serve(echo) as target:
        way = Forwarding(a, b, target).make()
        a.delete("/tunnel", name="t")
        a.delete("/service", name="s", type="local")
        a.delete("/bind", tunnel="t", service="s", type="local")
        a.gateway.kill()
        start_again(a)
        nothing: dict[str, dict[str, Any]] = {"local": {}, "remote": {}}
        assert stored(a) == {"tunnels": {}, "services": nothing, "bind": nothing}
        assert is_refused(way.port)


def test_a_reload_keeps_tunnels_up_and_streams_open(own_pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*own_pair, target).make()
        until(lambda: len(way.near.config()["tunnels"]["t"]["carriers"]) == 2, "both carriers")
        before = [node.config()["tunnels"]["t"]["connected"] for node in own_pair]
        with way.visit() as visitor:
            assert talks(visitor)
            for node in own_pair:
                assert "reconfigured" in reload(node)
                assert talks(visitor)
        assert way.is_served()
        assert [node.config()["tunnels"]["t"]["connected"] for node in own_pair] == before


def test_the_file_says_all_that_the_api_can(tmp_path: Path) -> None:
    secret = new_secret()
    with serve(echo) as target:
        far = f"service s remote 127.0.0.1:{target} key=k connect_timeout=1s; bind t s remote;"
        b = start_node(tmp_path / "b", "b", secret, far)
        near = (
            f"tunnel t 127.0.0.1:{b.tunnel_port}; "
            "service s local 127.0.0.1:@visitors_s key=k pending_timeout=2s; bind t s local;"
        )
        a = start_node(tmp_path / "a", "a", secret)
        configure(a.gateway, "a", secret, near)
        assert "reconfigured" in reload(a)
        port = a.gateway.ports["visitors_s"]
        assert echoed(port, b"hello") == b"hello"
        assert a.config()["services"]["local"]["s"]["pending_timeout"] == 2000

        static: list[tuple[Node, str, dict[str, str], dict[str, Any]]] = [
            (a, "/tunnel", {"name": "t"}, {"dest": "127.0.0.1:1"}),
            (a, "/service", {"name": "s", "type": "local"}, {"addr": ["127.0.0.1", 0]}),
            (b, "/service", {"name": "s", "type": "remote"}, {"addr": "127.0.0.1:9"}),
        ]
        for node, path, names, change in static:
            for answer in (node.post(path, **names, **change), node.delete(path, **names)):
                assert answer.status_code == 409, answer.text
                assert "stands in the configuration file" in answer.json()["reason"]
        for node, kind in ((a, "local"), (b, "remote")):
            names = {"tunnel": "t", "service": "s", "type": kind}
            assert node.post("/bind", **names).json() == {"ok": True, "changed": False}
            assert node.delete("/bind", **names).status_code == 409
        assert echoed(port, b"hello") == b"hello"

        configure(a.gateway, "a", secret)
        assert "reconfigured" in reload(a)
        assert is_refused(port)
        until(lambda: b.state_of("t") is None, "the end of the tunnel")
        stop_node(a)
        stop_node(b)


def test_the_file_and_the_api_add_up_and_survive_a_restart(tmp_path: Path) -> None:
    secret = new_secret()
    with serve(echo) as target:
        far = f"service s remote 127.0.0.1:{target}; bind t s remote;"
        b = start_node(tmp_path / "b", "b", secret, far)
        a = start_node(tmp_path / "a", "a", secret, "bind t s local;")
        way = Forwarding(a, b, target)
        assert way.tunnel().status_code == 200
        assert way.local(key=None).status_code == 200
        assert way.is_served()
        for node in (a, b):
            node.gateway.kill()
        for node in (b, a):
            start_again(node)
        assert way.is_served()
        stop_node(a)
        stop_node(b)
