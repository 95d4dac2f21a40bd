"""What a peer may do: services that it may open, and services of its that clients are sent to."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness.clients import is_reset
from tests.harness.forwarding import Forwarding, is_refused, nobody_came, seconds_to_reset, talks
from tests.harness.servers import echo, listen, port_of, serve
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

from qanat.control.tunnel_identity import identity_of, read_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """Give the folder and the public key of two nodes."""
    folder = tmp_path_factory.mktemp("rules")
    found = {}
    for name in "ab":
        state = folder / name / "state"
        state.mkdir(parents=True)
        found[name] = (folder / name, identity_of(read_key(state)).public)
    return found


@pytest.fixture
def known(keys: dict[str, tuple[Path, str]]) -> Iterator[tuple[Node, Node]]:
    """Give two nodes, `a` dialling, that know each other by key; rules are put over the API."""
    with ExitStack() as stack:
        nodes = []
        for name, other in ("ab", "ba"):
            node = start_node(keys[name][0], name, new_secret())
            stack.callback(stop_node, node)
            stack.callback(forget, node)
            put_peer(node, other, key=keys[other][1])
            nodes.append(node)
        yield nodes[0], nodes[1]


def forget(node: Node) -> None:
    """Remove what the API has added."""
    for kind in ("local", "remote"):
        for service, tunnels in node.config()["bind"][kind].items():
            for tunnel in tunnels:
                node.delete("/bind", tunnel=tunnel, service=service, type=kind)
        for service in node.config()["services"][kind]:
            node.delete("/service", "?streams=reset", name=service, type=kind)
    node.delete("/tunnel", name="t")
    for peer in node.client.get("/v1/peers").json()["peers"]:
        if peer["known"]:
            assert node.client.delete(f"/v1/peers/{peer['name']}").status_code == 200


def put_peer(node: Node, name: str, **rules: object) -> None:
    answer = node.client.put(f"/v1/peers/{name}", json=rules)
    assert answer.status_code == 200, answer.text


def patch_peer(node: Node, name: str, **rules: object) -> None:
    answer = node.client.patch(f"/v1/peers/{name}", json=rules)
    assert answer.status_code == 200, answer.text


def see(node: Node, name: str) -> dict[str, Any]:
    found: dict[str, Any] = node.client.get(f"/v1/peers/{name}").json()
    return found


def connect_tunnel(a: Node, b: Node) -> None:
    answer = a.post("/tunnel", name="t", dest=["127.0.0.1", b.tunnel_port], peer="b")
    assert answer.json()["state"] == "up", answer.text


def forward(nodes: tuple[Node, Node], target: object, service: str = "s") -> Forwarding:
    """Forward a service from `a` to `b`, over the tunnel that is there."""
    way = Forwarding(*nodes, target, service)
    for call in (way.local, way.remote, way.bind_local, way.bind_remote):
        assert call().status_code == 200
    return way


def test_without_rules_a_binding_is_the_permission(known: tuple[Node, Node]) -> None:
    connect_tunnel(*known)
    with serve(echo) as target:
        assert forward(known, target).is_served()
        assert see(known[1], "a")["consume"] is None


def test_a_peer_opens_only_the_services_that_it_may_consume(known: tuple[Node, Node]) -> None:
    connect_tunnel(*known)
    patch_peer(known[1], "a", consume=["web", "db-*"])
    with serve(echo) as target, listen() as closed:
        assert forward(known, target, "web").is_served()
        assert forward(known, target, "db-1").is_served()
        way = forward(known, port_of(closed), "mail")
        assert seconds_to_reset(way.port, 1) < 1
        assert nobody_came(closed)
    assert known[1].gateway.wait_for_log("tunnel t: service mail refused: forbidden")
    assert known[0].gateway.wait_for_log("refused by the other end of tunnel t: forbidden")


def test_who_may_not_have_a_service_does_not_learn_whether_it_is_there(
    known: tuple[Node, Node],
) -> None:
    connect_tunnel(*known)
    patch_peer(known[1], "a", consume=[])
    way = Forwarding(*known, 9)
    way.local()
    way.bind_local()
    assert seconds_to_reset(way.port, 1) < 1
    assert known[1].gateway.wait_for_log("service s refused: forbidden")


def test_clients_are_sent_only_to_services_that_a_peer_may_offer(known: tuple[Node, Node]) -> None:
    connect_tunnel(*known)
    patch_peer(known[0], "b", offer=["web"])
    with serve(echo) as target, listen() as closed:
        assert forward(known, target, "web").is_served()
        way = forward(known, port_of(closed), "mail")
        assert seconds_to_reset(way.port, 1) < 1
        assert nobody_came(closed)
    assert known[0].gateway.wait_for_log("service mail through tunnel t: forbidden")


@pytest.mark.parametrize(("side", "peer", "rule"), [(1, "a", "consume"), (0, "b", "offer")])
def test_a_changed_rule_resets_what_it_forbids_and_nothing_else(
    known: tuple[Node, Node], side: int, peer: str, rule: str
) -> None:
    connect_tunnel(*known)
    with serve(echo) as target:
        kept, cut = (forward(known, target, name) for name in ("web", "mail"))
        with kept.visit() as stays, cut.visit() as goes:
            assert talks(stays)
            assert talks(goes)
            before = see(known[1], "a")["carriers"]
            patch_peer(known[side], peer, **{rule: ["web"]})
            assert is_reset(goes)
            assert talks(stays)
            after = see(known[1], "a")["carriers"]
            same = ("tunnel", "index", "address")
            assert [[one[key] for key in same] for one in after] == [
                [one[key] for key in same] for one in before
            ]
            assert seconds_to_reset(cut.port, 1) < 1
            patch_peer(known[side], peer, **{rule: None})
            assert cut.is_served()
            assert talks(stays)


def test_a_tunnel_that_is_no_longer_allowed_ends_at_once(known: tuple[Node, Node]) -> None:
    connect_tunnel(*known)
    with serve(echo) as target:
        way = forward(known, target)
        with way.visit() as visitor:
            assert talks(visitor)
            patch_peer(known[1], "a", tunnels=["other"])
            assert is_reset(visitor)
        until(lambda: not see(known[1], "a")["carriers"], "no carrier")


def test_removing_a_peer_ends_its_carriers(known: tuple[Node, Node]) -> None:
    a, b = known
    connect_tunnel(a, b)
    with serve(echo) as target:
        way = forward(known, target)
        with way.visit() as visitor:
            assert talks(visitor)
            assert b.client.delete("/v1/peers/a").status_code == 200
            assert is_reset(visitor)
        until(lambda: b.client.get("/v1/peers").json()["peers"] == [], "nobody")
        assert b.client.delete("/v1/peers/a").status_code == 404
        until(lambda: a.state_of("t") == "auth_failed", "the state of the dialler")


def test_a_peer_that_a_tunnel_names_is_kept(known: tuple[Node, Node]) -> None:
    connect_tunnel(*known)
    answer = known[0].client.delete("/v1/peers/b")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "in_use")
    assert known[0].state_of("t") == "up"


def test_peers_survive_a_restart(known: tuple[Node, Node]) -> None:
    a, b = known
    connect_tunnel(a, b)
    patch_peer(b, "a", consume=["web"], tunnels=["t*"])
    # A peer that is put again after the tunnel that names it.
    patch_peer(a, "b", offer=["web"])
    for node in known:
        node.gateway.kill()
        start_again(node)
    assert (see(b, "a")["consume"], see(b, "a")["tunnels"]) == (["web"], ["t*"])
    assert (see(a, "b")["offer"], see(a, "b")["dynamic"]) == (["web"], True)
    until(lambda: a.state_of("t") == "up", "the tunnel is up")


def test_rules_of_the_file_follow_a_reload(
    keys: dict[str, tuple[Path, str]], tmp_path: Path
) -> None:
    secret = new_secret()
    a = start_node(keys["a"][0], "a", secret)
    peer = f"peer a {keys['a'][1]} tunnels=t"
    b = start_node(tmp_path / "b", "b", secret, f"{peer} consume=web,mail;")
    with serve(echo) as target:
        ways = []
        assert a.post("/tunnel", name="t", dest=["127.0.0.1", b.tunnel_port]).status_code == 200
        ways = [forward((a, b), target, name) for name in ("web", "mail")]
        with ways[0].visit() as stays, ways[1].visit() as goes:
            assert talks(stays)
            assert talks(goes)
            configure(b.gateway, "b", secret, f"{peer} consume=web offer=off;")
            assert "reconfigured" in reload(b)
            assert is_reset(goes)
            assert talks(stays)
        assert see(b, "a")["offer"] == []
        static = b.client.patch("/v1/peers/a", json={"consume": []})
        assert (static.status_code, static.json()["error"]["code"]) == (409, "static")
        forget(a)
    stop_node(a)
    stop_node(b)


KEY = "ed25519:" + "0a" * 32


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("x", {}, "key"),
        ("x", {"key": "rsa:1"}, "key"),
        ("x", {"key": KEY, "consume": ["a*b"]}, "consume"),
        ("x", {"key": KEY, "tunnels": [""]}, "tunnels"),
        ("x", {"key": KEY, "listen": ["8000"]}, "listen"),
        ("no name", {"key": KEY}, "name"),
    ],
)
def test_bad_rules_are_refused_with_the_field(
    pair: tuple[Node, Node], name: str, body: dict[str, object], field: str
) -> None:
    answer = pair[0].client.put(f"/v1/peers/{name}", json=body)
    assert answer.status_code in {400, 422}
    assert field in answer.text


def test_two_peers_cannot_have_one_key(pair: tuple[Node, Node]) -> None:
    node = pair[0]
    put_peer(node, "one", key=KEY)
    second: httpx.Response = node.client.put("/v1/peers/two", json={"key": KEY.replace("a", "A")})
    assert second.status_code == 422
    assert second.json()["error"]["message"] == 'peer "one" has the same key'
    assert node.client.delete("/v1/peers/one").status_code == 200


def test_the_command_shows_no_open_port_for_a_peer(known: tuple[Node, Node]) -> None:
    # A peer names services: nothing that it says makes this gateway listen.
    connect_tunnel(*known)
    way = Forwarding(*known, 9)
    way.remote()
    way.bind_remote()
    assert is_refused(way.port)
