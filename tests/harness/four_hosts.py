"""Four hosts in a row: visitor, gateway, router with NAT, and a gateway that nobody reaches.

Whatever the network does wrong is done at the router.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.harness.netns import Namespace, run

if TYPE_CHECKING:
    from collections.abc import Iterator

VISITOR, NEAR_INSIDE = "10.232.1.2", "10.232.1.1"
NEAR, ROUTER = "10.232.2.1", "10.232.2.2"
OTHER_ROUTER = "10.232.2.3"
HIDDEN_ROUTER, FAR = "10.232.3.1", "10.232.3.2"
OTHER_FAR = "10.232.3.3"


@dataclass(frozen=True)
class Hosts:
    """The namespaces, from the visitor to the gateway behind the router."""

    visitor: Namespace
    near: Namespace
    router: Namespace
    far: Namespace

    @contextlib.contextmanager
    def rule(self, text: str) -> Iterator[None]:
        """Have a rule of the router's iptables for a while, before all others."""
        self.router.run(f"iptables -I {text}")
        try:
            yield
        finally:
            self.router.run(f"iptables -D {text}")

    @contextlib.contextmanager
    def drop(self, *interfaces: str, extra: str = "") -> Iterator[None]:
        """Lose what comes into the router by these interfaces, `near` and `far`."""
        with contextlib.ExitStack() as rules:
            for name in interfaces:
                rules.enter_context(self.rule(f"FORWARD -i {name} {extra} -j DROP"))
            yield


@contextlib.contextmanager
def four_hosts() -> Iterator[Hosts]:
    """Make the namespaces, their addresses and routes. Nobody has a route to what is hidden."""
    names = ("visitor", "near", "router", "far")
    hosts = Hosts(*(Namespace(f"qanat-{name}-{os.getpid()}") for name in names))
    visitor, near, router, far = (
        host.name for host in (hosts.visitor, hosts.near, hosts.router, hosts.far)
    )
    with contextlib.ExitStack() as made:
        for host in (visitor, near, router, far):
            run(f"ip netns add {host}")
            made.callback(run, f"ip netns del {host}")
            run(f"ip -n {host} link set lo up")
        _cable((visitor, "near", VISITOR), (near, "visitor", NEAR_INSIDE))
        _cable((near, "router", NEAR), (router, "near", ROUTER))
        _cable((router, "far", HIDDEN_ROUTER), (far, "router", FAR))
        run(f"ip -n {visitor} route add default via {NEAR_INSIDE}")
        run(f"ip -n {near} route add default via {ROUTER}")
        run(f"ip -n {far} route add default via {HIDDEN_ROUTER}")
        hosts.router.run("sysctl -qw net.ipv4.ip_forward=1")
        hosts.near.run("sysctl -qw net.ipv4.ip_forward=1")
        # Only what is begun behind the router gets through, in its name.
        hosts.router.run("iptables -t nat -A POSTROUTING -o near -j MASQUERADE")
        hosts.router.run("iptables -A FORWARD -i far -o near -j ACCEPT")
        hosts.router.run("iptables -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT")
        hosts.router.run("iptables -P FORWARD DROP")
        yield hosts


def _cable(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """Join two hosts; each end is a host, the name of its interface and its address."""
    run(f"ip link add {one[1]} netns {one[0]} type veth peer name {other[1]} netns {other[0]}")
    for host, interface, address in (one, other):
        run(f"ip -n {host} addr add {address}/24 dev {interface}")
        run(f"ip -n {host} link set {interface} up")
