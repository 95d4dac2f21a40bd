"""`POST /v1/apply`: many tunnels, services and bindings in one change, all of it or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.harness.clients import connect, read_exactly
from tests.harness.gateway import run
from tests.harness.servers import echo, serve
from tests.harness.tunnels import Node, new_secret, start_again, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Give a gateway that can have tunnels."""
    node = start_node(tmp_path / "a", "a", new_secret())
    yield node
    stop_node(node)


def apply(node: Node, **body: object) -> httpx.Response:
    return node.client.post("/v1/apply", json=body)


def applied(node: Node, **body: object) -> dict[str, Any]:
    answer = apply(node, **body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_both_ends_are_set_up_with_one_call_each(tmp_path: Path) -> None:
    secret = new_secret()
    a, b = (start_node(tmp_path / name, name, secret) for name in "ab")
    with serve(echo) as target:
        applied(
            b,
            services={"remote": {"s": {"addr": f"127.0.0.1:{target}", "key": "k"}}},
            bindings={"remote": {"s": ["t"]}},
        )
        done = applied(
            a,
            tunnels={"t": {"dest": f"127.0.0.1:{b.tunnel_port}"}},
            services={"local": {"s": {"addr": "127.0.0.1:0", "key": "k"}}},
            bindings={"local": {"s": ["t"]}},
        )
        assert (done["changed"], done["removed"]) == (True, [])
        assert done["put"] == ["tunnels/t", "services/local/s", "bindings/local/t/s"]
        address = a.client.get("/v1/services/local/s").json()["addr"]
        with connect(int(address.rpartition(":")[2])) as client:
            client.sendall(b"hello")
            assert read_exactly(client, 5) == b"hello"
        gone = applied(
            a, tunnels={"t": None}, services={"local": {"s": None}}, bindings={"local": {"s": []}}
        )
        assert gone["removed"] == ["tunnels/t", "services/local/s", "bindings/local/t/s"]
        until(lambda: not b.config()["tunnels"], "the tunnel has ended at the other end")
    stop_node(a)
    stop_node(b)


def test_the_same_body_twice_changes_nothing(node: Node) -> None:
    body = {
        "services": {"local": {"s": {"addr": "127.0.0.1:0"}}},
        "bindings": {"local": {"s": ["t", "u"]}},
    }
    first = applied(node, **body)
    again = applied(node, **body)
    assert (again["changed"], again["put"], again["removed"]) == (False, [], [])
    assert again["revision"] == first["revision"]
    fewer = applied(node, bindings={"local": {"s": ["u"]}})
    assert (fewer["put"], fewer["removed"]) == ([], ["bindings/local/t/s"])


def test_a_fault_anywhere_leaves_everything_as_it_was(node: Node) -> None:
    applied(node, services={"remote": {"old": {"addr": "127.0.0.1:9"}}})
    before = node.config()
    gone: dict[str, object] = {"old": None}
    faults: list[tuple[dict[str, object], str]] = [
        ({"services": {"remote": gone | {"new": {"addr": "nowhere"}}}}, "services.remote.new.addr"),
        (
            {"services": {"remote": gone, "local": {"l": {"addr": "x:y"}}}},
            "services.local.l.addr",
        ),
        (
            {"services": {"remote": gone}, "bindings": {"remote": {"a b": ["t"]}}},
            "bindings.remote.a b.service",
        ),
        (
            {"services": {"remote": gone | {"new": {"addr": "127.0.0.1:9", "colour": 1}}}},
            "services.remote",
        ),
        (
            {"services": {"remote": gone}, "tunnels": {"t": {"dest": "127.0.0.1"}}},
            "tunnels.t.dest",
        ),
    ]
    for body, where in faults:
        refused = apply(node, **body)
        assert refused.status_code == 422, refused.text
        assert where in refused.json()["error"]["where"], refused.text
        assert node.config() == before


def test_an_address_that_is_taken_keeps_all_of_it_from_being_listened_at(node: Node) -> None:
    held = node.gateway.ports["control_api"]
    free = node.gateway.ports["later"]
    refused = apply(
        node,
        services={
            "local": {
                "one": {"addr": f"127.0.0.1:{free}"},
                "two": {"addr": f"127.0.0.1:{held}"},
            }
        },
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "in_use")
    with pytest.raises(ConnectionRefusedError):
        connect(free)


def test_an_address_goes_from_one_service_to_another_in_one_call(node: Node) -> None:
    port = node.gateway.ports["later"]
    applied(node, services={"local": {"one": {"addr": f"127.0.0.1:{port}"}}})
    applied(node, services={"local": {"one": None, "two": {"addr": f"127.0.0.1:{port}"}}})
    assert list(node.config()["services"]["local"]) == ["two"]


def test_services_exchange_their_addresses_in_one_call(node: Node) -> None:
    first, second = (f"127.0.0.1:{node.gateway.ports[name]}" for name in ("one", "two"))
    applied(node, services={"local": {"one": {"addr": first}, "two": {"addr": second}}})
    exchanged = {"local": {"one": {"addr": second}, "two": {"addr": first}}}
    assert applied(node, services=exchanged)["put"] == ["services/local/one", "services/local/two"]
    services = node.config()["services"]["local"]
    assert [services[name]["addr"] for name in ("one", "two")] == [second, first]
    assert applied(node, services=exchanged)["changed"] is False


def test_an_address_in_other_words_changes_nothing(node: Node) -> None:
    port = node.gateway.ports["later"]
    applied(node, services={"local": {"one": {"addr": f"127.0.0.1:{port}"}}})
    again = applied(node, services={"local": {"one": {"addr": f"127.1:{port}"}}})
    assert again["changed"] is False


def test_a_thousand_services_get_ports_of_their_own_in_one_call(node: Node) -> None:
    names = [f"s{number}" for number in range(1000)]
    done = applied(
        node,
        services={"local": {name: {"addr": "127.0.0.1:0"} for name in names}},
        bindings={"local": {name: ["t"] for name in names}},
    )
    assert len(done["put"]) == 2000
    services = node.config()["services"]["local"]
    assert len({service["addr"] for service in services.values()}) == 1000


def test_a_peer_and_the_tunnel_that_wants_it_come_and_go_together(node: Node) -> None:
    key = "ed25519:" + "5a" * 32
    both = {
        "peers": {"gate": {"key": key, "consume": ["web"]}},
        "tunnels": {"t": {"dest": f"127.0.0.1:{node.gateway.ports['later']}", "peer": "gate"}},
    }
    assert applied(node, **both)["put"] == ["peers/gate", "tunnels/t"]
    wanted = apply(node, peers={"gate": None})
    assert (wanted.status_code, "t" in wanted.json()["error"]["message"]) == (409, True)
    gone = applied(node, peers={"gate": None}, tunnels={"t": None})
    assert gone["removed"] == ["tunnels/t", "peers/gate"]


def test_the_command_applies_a_file(node: Node, tmp_path: Path) -> None:
    wanted = tmp_path / "wanted.json"
    wanted.write_text('{"services": {"remote": {"s": {"addr": "127.0.0.1:9"}}}}')
    control = ["--control", f"127.0.0.1:{node.gateway.ports['control_api']}"]
    first = run(["tunnel", *control, "apply", str(wanted)])
    assert (first.returncode, first.stdout) == (0, "put services/remote/s\n"), first.stderr
    again = run(["tunnel", *control, "apply", str(wanted)])
    assert again.stdout == "everything is so already\n"
    keyed = '{"services": {"remote": {"s": {"addr": "127.0.0.1:9", "key": "кључ"}}}}'
    wanted.write_text(keyed, "utf-8")
    assert run(["tunnel", *control, "apply", str(wanted)]).stdout == "put services/remote/s\n"
    wanted.write_text('{"services": {"remote": {"s": {"addr": "nowhere"}}}}')
    refused = run(["tunnel", *control, "apply", str(wanted)])
    assert refused.returncode == 1
    assert "services.remote.s.addr" in refused.stderr
    missing = run(["tunnel", *control, "apply", str(tmp_path / "none.json")])
    assert (missing.returncode, "none.json" in missing.stderr) == (1, True)


def test_what_was_applied_survives_kill_9(node: Node) -> None:
    names = [f"s{number}" for number in range(50)]
    applied(
        node,
        services={"remote": {name: {"addr": "127.0.0.1:9"} for name in names}},
        bindings={"remote": {name: ["t"] for name in names}},
    )
    before = node.config()
    node.gateway.kill()
    start_again(node)
    assert node.config() == before
    assert sorted(before["services"]["remote"]) == sorted(names)
