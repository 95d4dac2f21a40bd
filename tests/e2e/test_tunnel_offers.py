"""Offers: each end tells which services it has, and a tunnel without the service is passed over."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask
from tests.harness.forwarding import Forwarding, seconds_to_reset
from tests.harness.gateway import run
from tests.harness.servers import echo, listen, serve, tagged
from tests.harness.tunnels import Node, configure, new_secret, reload, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = new_secret()


def offered(node: Node, service: str, tunnel: str = "t", kind: str = "local") -> bool | None:
    found = node.client.get(f"/v1/bindings/{kind}/{tunnel}/{service}")
    assert found.status_code == 200, found.text
    answer: bool | None = found.json()["offered"]
    return answer


def test_an_offer_follows_whatever_it_depends_on(pair: tuple[Node, Node]) -> None:
    near, far = pair
    with serve(echo) as target:
        way = Forwarding(near, far, target)
        way.local()
        way.bind_local()
        assert offered(near, "s") is None
        way.tunnel()
        until(lambda: offered(near, "s") is False, "nothing is offered")
        way.remote()
        way.bind_remote()
        until(lambda: offered(near, "s"), "the offer")
        assert offered(far, "s", kind="remote") is True
        far.delete("/bind", tunnel="t", service="s", type="remote")
        until(lambda: offered(near, "s") is False, "it is withdrawn with the binding")
        way.bind_remote()
        until(lambda: offered(near, "s"), "it is offered again")
        far.delete("/service", name="s", type="remote")
        until(lambda: offered(near, "s") is False, "it is withdrawn with the service")
        # Whoever asks all the same is told why it fails.
        assert seconds_to_reset(way.port, 1) < 1
        assert far.gateway.wait_for_log("service s refused: no_service")


def test_a_target_that_refuses_is_not_offered_until_it_is_reached(
    pair: tuple[Node, Node],
) -> None:
    port = pair[1].gateway.ports["reached_again"]
    way = Forwarding(*pair, port).make()
    until(lambda: offered(way.near, "s"), "the offer")
    assert seconds_to_reset(way.port, 1) < 1
    until(lambda: offered(way.near, "s") is False, "it is withdrawn")
    with serve(echo, listen(port=port)):
        # The only way there is is tried, whatever is offered.
        assert way.is_served()
        until(lambda: offered(way.near, "s"), "it is offered again")


def test_another_target_is_offered_at_once(pair: tuple[Node, Node]) -> None:
    way = Forwarding(*pair, pair[1].gateway.ports["refusing"]).make()
    assert seconds_to_reset(way.port, 1) < 1
    until(lambda: offered(way.near, "s") is False, "it is withdrawn")
    with serve(echo) as target:
        Forwarding(*pair, target).remote()
        until(lambda: offered(way.near, "s"), "it is offered again")


def test_the_command_says_what_is_missing(pair: tuple[Node, Node]) -> None:
    way = Forwarding(*pair, 9).make(without="bind_remote")
    until(lambda: offered(way.near, "s") is False, "nothing is offered")
    control = f"http://127.0.0.1:{way.near.gateway.ports['control_api']}"
    shown = run(["tunnel", "--control", control, "ls"]).stdout
    assert "the other end does not offer s" in " ".join(shown.split())


def test_two_thousand_offers_arrive_beside_traffic(pair: tuple[Node, Node]) -> None:
    near, far = pair
    names = [f"many-{number:04}" for number in range(2000)]
    with serve(echo) as target:
        way = Forwarding(near, far, target).make()
        services = {name: {"addr": f"127.0.0.1:{target}"} for name in names}
        bindings = {"remote": {name: ["t"] for name in names}}
        body = {"services": {"remote": services}, "bindings": bindings}
        answer = far.client.post("/v1/apply", json=body)
        assert answer.status_code == 200, answer.text
        assert way.is_served()
        near.post("/bind", tunnel="t", service=names[-1], type="local")
        until(lambda: offered(near, names[-1]), "the last offer")
        unbound: dict[str, list[str]] = {name: [] for name in names}
        removed = {"remote": dict.fromkeys(names)}
        gone = {"services": removed, "bindings": {"remote": unbound}}
        assert far.client.post("/v1/apply", json=gone).status_code == 200
        until(lambda: offered(near, names[-1]) is False, "all are withdrawn")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, folder: Path, name: str, tunnels: str, rest: str = "") -> Node:
    node = start_node(folder / name, name, SECRET, tunnels, rest)
    stack.callback(stop_node, node)
    return node


def wait_for_offer(node: Node, tunnel: str, *, wanted: bool) -> None:
    until(lambda: offered(node, "s", tunnel) is wanted, f"{tunnel} offers s: {wanted}")


UPSTREAM = """
stream {
    upstream both { METHOD server tunnel:one/s; server tunnel:two/s; }
    server { listen 127.0.0.1:@both; proxy_pass both; }
}
"""


@pytest.mark.parametrize("method", ["", "least_conn;", "hash $remote_addr;", "random;"])
def test_a_tunnel_without_the_service_is_passed_over(
    stack: ExitStack, tmp_path: Path, method: str
) -> None:
    far = {}
    for name in ("one", "two"):
        target = stack.enter_context(serve(tagged(name)))
        service = f"service s remote 127.0.0.1:{target};"
        bind = f"bind {name} s remote;"
        far[name] = (service, bind, start(stack, tmp_path, name, service + bind))
    dials = " ".join(f"tunnel {name} 127.0.0.1:{far[name][2].tunnel_port};" for name in far)
    near = start(stack, tmp_path, "near", dials, UPSTREAM.replace("METHOD", method))
    port = near.gateway.ports["both"]
    for name in far:
        near.post("/bind", tunnel=name, service="s", type="local")
        wait_for_offer(near, name, wanted=True)
    for left, other in (("one", "two"), ("two", "one")):
        service, bind, node = far[left]
        configure(node.gateway, left, SECRET, service)
        assert "reconfigured" in reload(node)
        wait_for_offer(near, left, wanted=False)
        assert {ask(port) for _ in range(6)} == {other.encode()}
        # Nobody has asked it in vain.
        assert node.config()["connections"][left]["refused"] == 0
        configure(node.gateway, left, SECRET, service + bind)
        assert "reconfigured" in reload(node)
        wait_for_offer(near, left, wanted=True)
