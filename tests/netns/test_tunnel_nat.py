"""A tunnel that is dialled from behind NAT, while the network or a gateway fails.

Four hosts in a row: a visitor, the gateway where it connects, a router with NAT, and the gateway
beside the target. What is promised is measured.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness.clients import connect, is_reset, read_all
from tests.harness.forwarding import talks
from tests.harness.four_hosts import (
    FAR,
    HIDDEN_ROUTER,
    NEAR,
    NEAR_INSIDE,
    OTHER_FAR,
    OTHER_ROUTER,
    ROUTER,
    Hosts,
    four_hosts,
)
from tests.harness.netns import Namespace, why_not
from tests.harness.servers import echo, listen, serve
from tests.harness.tunnels import Node, new_secret, start_again, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

VISITORS, TUNNELS = 8080, 4321
HEARTBEAT_S = 1
NOTICED_S = 4 * HEARTBEAT_S + 0.8
"""Four heartbeats, and less than a fifth one for a busy machine."""
RESET_S = 0.25
"""A tenth of a second is promised; the rest is for a busy machine."""


@dataclass
class Site:
    """The hosts and both gateways; the target is an echo beside the far one."""

    hosts: Hosts
    near: Node
    far: Node
    target: int

    def visit(self) -> socket.socket:
        """Come as a visitor."""
        with self.hosts.visitor.inside():
            return connect(VISITORS, NEAR_INSIDE)

    def seen(self, node: Node) -> dict[str, Any]:
        """Read the tunnel as one of them sees it."""
        with self.host_of(node).inside():
            tunnel: dict[str, Any] = node.config()["tunnels"].get("t", {"state": None})
            return tunnel

    def host_of(self, node: Node) -> Namespace:
        return self.hosts.far if node is self.far else self.hosts.near

    def wait_until(self, node: Node, state: str | None, patience: float = 10) -> None:
        until(lambda: self.seen(node)["state"] == state, f"tunnel to be {state}", patience)

    def is_down(self, node: Node) -> bool:
        return bool(self.seen(node)["state"] != "up")

    def wait_for_carriers(self) -> None:
        def counts() -> list[int]:
            return [len(self.seen(node).get("carriers", ())) for node in (self.near, self.far)]

        until(lambda: counts() == [2, 2], "both carriers at both ends")

    def wait_for_new_carriers(self) -> None:
        until(lambda: self.seen(self.near).get("connected") == 4, "two more carriers")
        self.wait_for_carriers()

    def streams(self) -> int:
        """Count the open streams of both ends."""
        carriers = [one for node in (self.near, self.far) for one in self.seen(node)["carriers"]]
        return sum(carrier["streams"] for carrier in carriers)

    def dialled_from(self) -> set[str]:
        """Tell the addresses that the dialling side has for the other one."""
        return {one["address"].partition(":")[0] for one in self.seen(self.near)["carriers"]}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Make hosts and gateways anew: no test waits for pauses that grew in another one."""
    if reason := why_not():
        pytest.skip(reason)
    secret = new_secret()
    settings = f"heartbeat {HEARTBEAT_S}s; handshake_timeout 1s;"
    with ExitStack() as stack:
        hosts = stack.enter_context(four_hosts())
        with hosts.near.inside():
            more = f"""
                {settings} listen {NEAR}:{TUNNELS};
                service s local {NEAR_INSIDE}:{VISITORS}; bind t s local;
            """
            near = start_node(tmp_path / "near", "near", secret, more)
        stack.callback(stop_node, near)
        with hosts.far.inside():
            target = stack.enter_context(serve(echo, listen("0.0.0.0")))
            more = f"""
                {settings} tunnel t {NEAR}:{TUNNELS};
                service s remote 127.0.0.1:{target}; bind t s remote;
            """
            far = start_node(tmp_path / "far", "far", secret, more)
        stack.callback(stop_node, far)
        site = Site(hosts, near, far, target)
        site.wait_for_carriers()
        yield site


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def test_what_nobody_can_reach_is_reached_through_the_tunnel(site: Site) -> None:
    for host in (site.hosts.visitor, site.hosts.near):
        with host.inside(), pytest.raises(OSError), socket.socket() as direct:
            direct.settimeout(0.5)
            direct.connect((FAR, site.target))
    with site.visit() as visitor:
        assert talks(visitor, b"from outside")
    assert site.dialled_from() == {ROUTER}


FAULTS: dict[str, tuple[str, ...]] = {
    "both directions": ("near", "far"),
    "towards the dialler": ("near",),
    "towards the acceptor": ("far",),
}


@pytest.mark.parametrize("lost", FAULTS)
def test_a_silent_network_is_noticed_at_both_ends_and_the_tunnel_comes_back(
    site: Site, lost: str
) -> None:
    with site.visit() as cut:
        assert talks(cut)
        with site.hosts.drop(*FAULTS[lost]):
            with ThreadPoolExecutor(3) as pool:
                signs = [
                    lambda: is_reset(cut),
                    lambda: until(lambda: site.is_down(site.near), "the loss"),
                    lambda: until(lambda: site.is_down(site.far), "the loss"),
                ]
                took = list(pool.map(seconds, signs))
            # Not before three pings went unanswered.
            assert min(took) > 2 * HEARTBEAT_S
            assert max(took) < NOTICED_S
            assert site.seen(site.far)["state"] in {"reconnecting", "connecting"}
            held = site.visit()
            held.sendall(b"held")
        # An attempt has 1 s, and a pause less than 1 s by now.
        with held:
            assert seconds(lambda: held.recv(4, socket.MSG_WAITALL)) < 4
        with site.visit() as visitor:
            assert talks(visitor)
    until(lambda: site.streams() == 0, "no stream to be left behind")


def reset_by_peer(site: Site, port: int) -> AbstractContextManager[None]:
    """Have the router reset one connection, whoever says the next word."""
    where = f"FORWARD -i far -p tcp --sport {port}"
    return site.hosts.rule(f"{where} -j REJECT --reject-with tcp-reset")


def test_a_carrier_that_is_reset_takes_only_its_own_streams_along(site: Site) -> None:
    with ExitStack() as visitors:
        by_index: dict[int, socket.socket] = {}
        for _ in range(64):
            before = {one["index"]: one["streams"] for one in site.seen(site.near)["carriers"]}
            visitor = visitors.enter_context(site.visit())
            assert talks(visitor)
            now = {one["index"]: one["streams"] for one in site.seen(site.near)["carriers"]}
            [index] = [index for index in now if now[index] > before[index]]
            by_index.setdefault(index, visitor)
            if len(by_index) == 2:
                break
        [(index, cut), (_, kept)] = by_index.items()
        addresses = {one["index"]: one["address"] for one in site.seen(site.near)["carriers"]}
        port = int(addresses[index].rpartition(":")[2])
        with reset_by_peer(site, port):
            cut.sendall(b"x")
            # The echo comes from the dialler, which is reset then; the acceptor is told by its end.
            assert is_reset(cut)
            assert talks(kept)
            assert seconds(site.wait_for_carriers) < 1
        assert talks(kept)


@pytest.mark.parametrize("whose", ["the gateway's own", "that of its NAT"])
def test_a_dialler_whose_address_changes_dials_again(site: Site, whose: str) -> None:
    hosts = site.hosts
    with site.visit() as cut:
        assert talks(cut)
        if whose == "that of its NAT":
            hosts.router.run(f"ip addr add {OTHER_ROUTER}/24 dev near")
            hosts.router.run(f"ip addr del {ROUTER}/24 dev near")
            hosts.router.run(f"ip addr replace {OTHER_ROUTER}/24 dev near")
        else:
            hosts.far.run(f"ip addr add {OTHER_FAR}/24 dev router")
            hosts.far.run(f"ip addr del {FAR}/24 dev router")
            hosts.far.run(f"ip addr replace {OTHER_FAR}/24 dev router")
            hosts.far.run(f"ip route replace default via {HIDDEN_ROUTER}")
        assert seconds(lambda: is_reset(cut)) < NOTICED_S
        assert seconds(site.wait_for_new_carriers) < 3
    with site.visit() as visitor:
        assert talks(visitor)
    if whose == "that of its NAT":
        assert site.dialled_from() == {OTHER_ROUTER}


@pytest.mark.parametrize("side", ["near", "far"])
def test_a_gateway_that_is_killed_resets_its_streams_and_is_back_by_itself(
    site: Site, side: str
) -> None:
    node: Node = getattr(site, side)
    other = site.far if side == "near" else site.near
    with site.visit() as cut:
        assert talks(cut)
        node.gateway.kill()
        assert seconds(lambda: is_reset(cut)) < RESET_S
        assert seconds(lambda: until(lambda: site.is_down(other), "the loss")) < 1
    with site.host_of(node).inside():
        start_again(node)
    # The pauses of who dials have grown with the time that the other one was away, to some 3 s.
    assert seconds(lambda: site.wait_until(site.near, "up")) < 6
    with site.visit() as visitor:
        assert talks(visitor)


def test_a_gateway_that_comes_back_is_not_kept_out_by_its_former_self(site: Site) -> None:
    """The dialler dies while nothing gets through: nobody hears of its death."""
    with site.visit() as cut:
        assert talks(cut)
        with site.hosts.drop("near", "far"):
            site.far.gateway.kill()
        with site.hosts.far.inside():
            start_again(site.far)
        # At once, and not after the heartbeats of the former session.
        assert seconds(lambda: is_reset(cut)) < 2
        with site.visit() as visitor:
            assert talks(visitor)
    until(lambda: site.streams() == 0, "no stream to be left behind")


def test_lost_packets_harm_nothing(site: Site) -> None:
    data = os.urandom(4 << 20)
    extra = "-m statistic --mode random --probability 0.01"
    with site.hosts.drop("near", "far", extra=extra), site.visit() as visitor:
        sender = threading.Thread(target=_send, args=(visitor, data))
        sender.start()
        came = read_all(visitor)
        sender.join(10)
    assert hashlib.blake2b(came).digest() == hashlib.blake2b(data).digest()
    assert site.seen(site.near)["connected"] == 2


def _send(visitor: socket.socket, data: bytes) -> None:
    visitor.sendall(data)
    visitor.shutdown(socket.SHUT_WR)
