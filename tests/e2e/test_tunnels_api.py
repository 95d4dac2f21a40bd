"""`/v1/tunnels`, `/v1/services`, `/v1/bindings` and `/v1/peers` on two gateways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.harness.clients import connect, read_exactly
from tests.harness.servers import echo, serve
from tests.harness.tunnels import Node, new_secret, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Give two gateways that share a secret."""
    secret = new_secret()
    a, b = (start_node(tmp_path / name, name, secret) for name in "ab")
    yield a, b
    stop_node(a)
    stop_node(b)


def put(node: Node, path: str, **body: object) -> httpx.Response:
    answer = node.client.put(f"/v1/{path}", json=body)
    assert answer.status_code in {200, 202}, answer.text
    return answer


def see(node: Node, path: str) -> dict[str, Any]:
    answer = node.client.get(f"/v1/{path}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_tunnel_is_answered_at_once_and_dialled_until_it_is_up(tmp_path: Path) -> None:
    secret = new_secret()
    a = start_node(tmp_path / "a", "a", secret)
    where = f"127.0.0.1:{a.gateway.ports['later']}"
    first = put(a, "tunnels/t", dest=where)
    assert (first.status_code, first.json()["changed"]) == (202, True)
    until(lambda: see(a, "tunnels/t")["error"], "a reason why it is not up")
    assert see(a, "tunnels/t")["state"] == "reconnecting"
    b = start_node(tmp_path / "b", "b", secret)
    moved = a.client.patch("/v1/tunnels/t", json={"dest": f"127.0.0.1:{b.tunnel_port}"})
    assert moved.status_code in {200, 202}
    until(lambda: see(a, "tunnels/t")["state"] == "up", "the tunnel is up")
    again = put(a, "tunnels/t", dest=f"127.0.0.1:{b.tunnel_port}")
    assert again.status_code == 200
    assert {key: again.json()[key] for key in ("changed", "state")} == {
        "changed": False,
        "state": "up",
    }
    there = see(b, "tunnels/t")
    assert (there["dest"], there["state"], there["dynamic"]) == (None, "up", False)
    stop_node(a)
    stop_node(b)


def test_a_service_is_put_bound_counted_and_removed(pair: tuple[Node, Node]) -> None:
    a, b = pair
    with serve(echo) as target:
        put(a, "tunnels/t", dest=f"127.0.0.1:{b.tunnel_port}")
        made = put(a, "services/local/s", addr="127.0.0.1:0", key="k").json()
        port = int(made["addr"].rpartition(":")[2])
        put(b, "services/remote/s", addr=f"127.0.0.1:{target}", key="k", proxy_protocol="off")
        put(a, "bindings/local/t/s")
        put(b, "bindings/remote/t/s")
        with connect(port) as client:
            client.sendall(b"hello")
            assert read_exactly(client, 5) == b"hello"
            assert see(a, "services/local/s")["sessions"] == 1
            assert see(b, "services/remote/s")["sessions"] == 1
            assert see(b, "tunnels/t")["serving"] == 1
            gone = a.client.delete("/v1/services/local/s?streams=reset")
            assert gone.status_code == 200
            with pytest.raises(ConnectionResetError):
                client.recv(1)
    assert see(a, "bindings/local/t/s")["state"] == "no_service"
    [bound] = see(b, "bindings")["remote"]
    assert {"tunnel": "t", "service": "s", "state": "up", "dynamic": True}.items() <= bound.items()
    assert a.client.delete("/v1/tunnels/t?drain=1s").status_code == 200
    until(lambda: see(b, "bindings/remote/t/s")["state"] == "no_tunnel", "the tunnel has ended")


def test_keys_are_masked_and_a_patch_keeps_what_it_does_not_name(pair: tuple[Node, Node]) -> None:
    a, _ = pair
    put(a, "services/remote/s", addr="127.0.0.1:9", key="do not tell", connect_timeout_ms=500)
    patched = a.client.patch("/v1/services/remote/s", json={"addr": "127.0.0.1:10"})
    assert patched.json()["changed"] is True
    shown = a.client.get("/v1/services/remote/s")
    assert "do not tell" not in shown.text + a.client.get("/v1/services").text
    assert {key: shown.json()[key] for key in ("addr", "key", "connect_timeout_ms")} == {
        "addr": "127.0.0.1:10",
        "key": "********",
        "connect_timeout_ms": 500,
    }
    unkeyed = a.client.patch("/v1/services/remote/s", json={"key": ""})
    assert unkeyed.status_code == 200
    assert see(a, "services/remote/s")["key"] is None


def test_what_is_not_there_is_not_found(pair: tuple[Node, Node]) -> None:
    a, _ = pair
    names = ("tunnels/x", "services/local/x", "services/remote/x", "bindings/local/x/y")
    for path in names:
        assert error(a.client.get(f"/v1/{path}")) == (404, "not_found")
        assert error(a.client.delete(f"/v1/{path}")) == (404, "not_found")
    for path in names[:3]:
        assert error(a.client.patch(f"/v1/{path}", json={})) == (404, "not_found")


def test_what_cannot_be_is_refused_with_the_field_at_fault(pair: tuple[Node, Node]) -> None:
    a, _ = pair
    wrong: list[tuple[str, dict[str, object], str]] = [
        ("tunnels/t", {}, ""),
        ("tunnels/t", {"dest": "nowhere"}, "dest"),
        ("tunnels/t", {"dest": "127.0.0.1:1", "peer": "nobody"}, "peer"),
        ("tunnels/a b", {"dest": "127.0.0.1:1"}, "name"),
        ("tunnels/%2e%2e", {"dest": "127.0.0.1:1"}, "name"),
        ("services/local/s", {"addr": "127.0.0.1:0", "when_down": "sometimes"}, "when_down"),
        ("services/local/s", {"addr": "nowhere.invalid:0"}, "addr"),
        ("services/remote/s", {"addr": "unix:"}, "addr"),
        ("services/remote/s", {"addr": "unix:/" + "x" * 200}, "addr"),
        ("services/remote/s", {"addr": "127.0.0.1:1", "connect_timeout_ms": 0}, ""),
        ("services/remote/s", {"addr": "127.0.0.1:1", "colour": "red"}, ""),
    ]
    for path, body, field in wrong:
        answer = a.client.put(f"/v1/{path}", json=body)
        assert error(answer) == (422, "invalid_request"), (path, body, answer.text)
        assert field in answer.json()["error"]["where"], answer.text
    held = a.client.put(
        "/v1/services/local/s", json={"addr": f"127.0.0.1:{a.gateway.ports['control_api']}"}
    )
    assert error(held) == (409, "in_use")
    assert error(a.client.delete("/v1/tunnels/t?drain=soon")) == (422, "invalid_request")
    assert error(a.client.get("/v1/bindings/sideways/t/s")) == (422, "invalid_request")


def test_any_free_port_of_a_host_by_its_name(pair: tuple[Node, Node]) -> None:
    a, _ = pair
    for host, literal in (("localhost", "127.0.0.1"), ("*", "0.0.0.0")):
        found = put(a, "services/local/s", addr=f"{host}:0").json()["addr"]
        assert found.startswith(f"{literal}:")
        again = put(a, "services/local/s", addr=f"{host}:0").json()
        assert (again["addr"], again["changed"]) == (found, False)


def test_a_tunnel_that_the_other_end_has_removed_comes_back_when_it_is_put_again(
    pair: tuple[Node, Node],
) -> None:
    a, b = pair
    where = f"127.0.0.1:{b.tunnel_port}"
    ways: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", "tunnels/t", {"dest": where}),
        ("POST", "apply", {"tunnels": {"t": {"dest": where}}}),
    ]
    for method, path, body in ways:
        a.client.request(method, f"/v1/{path}", json=body)
        until(lambda: see(a, "tunnels/t")["state"] == "up", "the tunnel is up")
        assert b.client.delete("/v1/tunnels/t").status_code == 200
        until(lambda: see(a, "tunnels/t")["state"] == "removed", "the dialler knows")
        assert a.client.request(method, f"/v1/{path}", json=body).json()["changed"] is False
        until(lambda: see(a, "tunnels/t")["state"] == "up", "the tunnel is up again")


def test_peers_tell_who_each_gateway_is(pair: tuple[Node, Node]) -> None:
    a, b = pair
    put(a, "tunnels/t", dest=f"127.0.0.1:{b.tunnel_port}")
    until(lambda: see(b, "peers")["peers"], "b sees a")
    own, there = see(a, "peers"), see(b, "peers")
    assert own["node"] == "a"
    assert own["listen"] == [f"127.0.0.1:{a.tunnel_port}"]
    [peer] = there["peers"]
    assert (peer["name"], peer["key"], peer["known"]) == ("a", own["key"], False)
    assert {one["tunnel"] for one in peer["carriers"]} == {"t"}


def test_what_stands_in_the_file_is_changed_there(tmp_path: Path) -> None:
    more = "service s remote 127.0.0.1:9; bind t s remote;"
    node = start_node(tmp_path / "a", "a", new_secret(), more)
    assert see(node, "services/remote/s")["dynamic"] is False
    changed = node.client.put("/v1/services/remote/s", json={"addr": "127.0.0.1:10"})
    assert error(changed) == (409, "static")
    assert error(node.client.delete("/v1/bindings/remote/t/s")) == (409, "static")
    stop_node(node)


def test_a_drain_that_is_refused_leaves_the_tunnel_as_it_was(tmp_path: Path) -> None:
    secret = new_secret()
    with serve(echo) as target:
        more = f"service s remote 127.0.0.1:{target}; bind t s remote;"
        b = start_node(tmp_path / "b", "b", secret, more)
        a = start_node(tmp_path / "a", "a", secret, f"tunnel t 127.0.0.1:{b.tunnel_port};")
        put(a, "services/local/s", addr=f"127.0.0.1:{a.gateway.ports['s']}")
        put(a, "bindings/local/t/s")
        assert error(a.client.delete("/v1/tunnels/t?drain=100ms")) == (409, "static")
        with connect(a.gateway.ports["s"]) as visitor:
            visitor.sendall(b"x")
            assert read_exactly(visitor, 1) == b"x"
        stop_node(a)
        stop_node(b)


def test_all_of_it_survives_kill_9(pair: tuple[Node, Node]) -> None:
    a, b = pair
    put(a, "tunnels/t", dest=f"127.0.0.1:{b.tunnel_port}")
    put(a, "services/local/s", addr="127.0.0.1:0")
    put(a, "bindings/local/t/s")
    services = see(a, "services")["local"]
    key = see(a, "peers")["key"]
    a.gateway.kill()
    a.gateway.start_with_api()
    assert see(a, "services")["local"] == services
    assert see(a, "peers")["key"] == key
    until(lambda: see(a, "bindings/local/t/s")["state"] == "up", "the tunnel is up again")
