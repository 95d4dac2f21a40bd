"""A tunnel between two hosts while the network, or a gateway, fails: what is promised, measured."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness.clients import connect, is_reset
from tests.harness.forwarding import talks
from tests.harness.netns import CLIENT, GATEWAY, Cable, Namespace, cable, why_not
from tests.harness.servers import echo, serve
from tests.harness.tunnels import Node, new_secret, start_again, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NEAR_PORT, FAR_PORT = 8080, 4321
ALSO = "10.231.0.3"


@dataclass
class Site:
    """Two hosts: visitors come to the near one, the target is at the far one."""

    ends: Cable
    near: Node
    far: Node
    stranger: Node
    """At the near host, with another secret."""
    began: float

    def visit(self) -> socket.socket:
        with self.ends.gateway.inside():
            return connect(NEAR_PORT)

    def seen(self, node: Node) -> dict[str, Any]:
        """Read the tunnel as one of them sees it."""
        with self._host(node).inside():
            tunnel: dict[str, Any] = node.config()["tunnels"].get("t", {"state": None})
            return tunnel

    def wait_until(self, node: Node, state: str) -> None:
        until(lambda: self.seen(node)["state"] == state, f"tunnel to be {state}")

    def wait_for_both_carriers(self) -> None:
        def counts() -> list[int]:
            return [len(self.seen(node).get("carriers", ())) for node in (self.near, self.far)]

        until(lambda: counts() == [2, 2], "both carriers")

    def _host(self, node: Node) -> Namespace:
        return self.ends.client if node is self.far else self.ends.gateway


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if reason := why_not():
        pytest.skip(reason)
    folder, secret = tmp_path_factory.mktemp("faults"), new_secret()
    with ExitStack() as stack:
        ends = stack.enter_context(cable())
        with ends.client.inside():
            target = stack.enter_context(serve(echo))
            more = f"""
                listen {CLIENT}:{FAR_PORT}; heartbeat 1s;
                service s remote 127.0.0.1:{target}; bind t s remote;
            """
            far = start_node(folder / "far", "far", secret, more)
        stack.callback(stop_node, far)
        with ends.gateway.inside():
            more = f"""
                tunnel t {CLIENT}:{FAR_PORT}; heartbeat 1s;
                service s local 127.0.0.1:{NEAR_PORT}; bind t s local;
            """
            near = start_node(folder / "near", "near", secret, more)
            stack.callback(stop_node, near)
            dial = f"tunnel other {CLIENT}:{FAR_PORT};"
            stranger = start_node(folder / "stranger", "stranger", new_secret(), dial)
            stack.callback(stop_node, stranger)
        site = Site(ends, near, far, stranger, time.monotonic())
        yield site


@pytest.fixture
def both(site: Site) -> Site:
    """Give the site with all carriers up."""
    site.wait_for_both_carriers()
    return site


@contextmanager
def rule(host: Namespace, text: str) -> Iterator[None]:
    """Have a rule of iptables for a while."""
    host.run(f"iptables -A {text}")
    try:
        yield
    finally:
        host.run(f"iptables -D {text}")


def loaded(site: Site) -> dict[int, int]:
    """Count the streams by the near port of their carrier."""
    carriers = site.seen(site.far)["carriers"]
    return {int(one["address"].rpartition(":")[2]): one["streams"] for one in carriers}


def addresses(site: Site) -> set[str]:
    """Tell where the near side dials from."""
    carriers = site.seen(site.far).get("carriers", ())
    return {one["address"].partition(":")[0] for one in carriers}


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_a_reset_carrier_takes_only_its_own_streams_along_and_is_redialled_at_once(
    both: Site,
) -> None:
    by_port: dict[int, socket.socket] = {}
    with ExitStack() as stack:
        for _ in range(64):
            before = loaded(both)
            visitor = stack.enter_context(both.visit())
            assert talks(visitor)
            [port] = [port for port, count in loaded(both).items() if count > before[port]]
            by_port.setdefault(port, visitor)
            if len(by_port) == 2:
                break
        (port, cut), (_, kept) = by_port.items()
        reject = f"-p tcp --sport {port} -j REJECT --reject-with tcp-reset"
        with rule(both.ends.client, f"INPUT -i cable {reject}"):
            cut.sendall(b"x")
            assert seconds(lambda: is_reset(cut)) < 0.1
            assert talks(kept)
            assert seconds(both.wait_for_both_carriers) < 1
        assert port not in loaded(both)


def test_a_silent_network_is_noticed_by_its_heartbeats_and_the_tunnel_comes_back(
    both: Site,
) -> None:
    with both.visit() as cut:
        assert talks(cut)
        with rule(both.ends.client, "INPUT -i cable -j DROP"):
            # Four heartbeats of 1 s.
            assert 2 < seconds(lambda: is_reset(cut)) < 5
            both.wait_until(both.near, "reconnecting")
            held = both.visit()
            held.sendall(b"held")
        with held:
            assert held.recv(4, socket.MSG_WAITALL) == b"held"
    until(lambda: sum(loaded(both).values()) == 0, "no stream to be left behind")


def test_a_dialler_whose_address_changes_dials_again_from_the_new_one(both: Site) -> None:
    near = both.ends.gateway
    with both.visit() as cut:
        assert talks(cut)
        near.run(f"ip addr add {ALSO}/24 dev cable")
        near.run(f"ip addr del {GATEWAY}/24 dev cable")
        try:
            near.run(f"ip addr replace {ALSO}/24 dev cable")
            assert seconds(lambda: is_reset(cut)) < 5
            with both.visit() as visitor:
                assert talks(visitor)
            assert addresses(both) == {ALSO}
        finally:
            near.run(f"ip addr add {GATEWAY}/24 dev cable")
            near.run(f"ip addr del {ALSO}/24 dev cable")
            near.run(f"ip addr replace {GATEWAY}/24 dev cable")
    until(lambda: addresses(both) == {GATEWAY}, "the way back")


@pytest.mark.parametrize("side", ["near", "far"])
def test_a_gateway_that_is_killed_resets_its_streams_and_is_back_by_itself(
    both: Site, side: str
) -> None:
    node: Node = getattr(both, side)
    host = both.ends.gateway if side == "near" else both.ends.client
    with both.visit() as cut:
        assert talks(cut)
        node.gateway.kill()
        assert seconds(lambda: is_reset(cut)) < 0.1
    with host.inside():
        start_again(node)
    # The pauses between attempts grow with the time that the other side was away.
    assert seconds(lambda: both.wait_until(both.near, "up")) < 4
    with both.visit() as visitor:
        assert talks(visitor)


def test_a_wrong_secret_is_shown_and_tried_seldom(site: Site) -> None:
    def attempts() -> int:
        return site.stranger.gateway.error_log().count("authentication failed")

    with site.ends.gateway.inside():
        until(lambda: site.stranger.state_of("other") == "auth_failed", "the refusal")
    until(lambda: attempts() >= 2, "the attempts of both carriers")
    # Each of the two carriers tries again after 30 s, whatever happened meanwhile.
    assert attempts() <= 2 * (1 + (time.monotonic() - site.began) // 30 + 1)
    assert "tunnel listener" in site.far.gateway.wait_for_log("authentication failed")
    with site.ends.client.inside():
        assert "other" not in site.far.config()["tunnels"]
