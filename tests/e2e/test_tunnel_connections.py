"""What sessions that come through a tunnel count for against `worker_connections`: the one socket
that each of them has, towards the target."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import connect, udp
from tests.harness.forwarding import talks
from tests.harness.servers import echo, serve, serve_udp
from tests.harness.tunnels import Node, new_secret, start_node, stop_node

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

MAIN = """
error_log logs/error.log info;
pid logs/qanat.pid;
worker_processes 1;
events { worker_connections 6; }
"""
SERVICES = """
    service bytes remote 127.0.0.1:@target;
    bind t bytes remote;
    service datagrams remote 127.0.0.1:@udp_target udp;
    bind t datagrams remote;
"""
BESIDE = """
stream { server { listen 127.0.0.1:@beside; proxy_pass 127.0.0.1:@target; } }
"""
VISITED = """
    service bytes local 127.0.0.1:@bytes;
    bind t bytes local;
    service datagrams local 127.0.0.1:@datagrams udp;
    bind t datagrams local;
"""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def pair(stack: ExitStack, tmp_path: Path) -> tuple[Node, Node]:
    """Give a gateway for visitors, and one with six connections to spend that has the targets."""
    secret = new_secret()
    target = str(stack.enter_context(serve(echo)))
    datagrams = str(stack.enter_context(serve_udp(lambda datagram: [datagram])))
    services = SERVICES.replace("@target", target).replace("@udp_target", datagrams)
    beside = BESIDE.replace("@target", target)
    far = start_node(tmp_path / "far", "far", secret, services, beside, MAIN)
    stack.callback(stop_node, far)
    tunnel = f"tunnel t 127.0.0.1:{far.tunnel_port};"
    near = start_node(tmp_path / "near", "near", secret, tunnel + VISITED)
    stack.callback(stop_node, near)
    return near, far


def visit(stack: ExitStack, near: Node, service: str) -> socket.socket:
    """Come as a visitor, and talk to the target."""
    port = near.gateway.ports[service]
    visitor = stack.enter_context(connect(port) if service == "bytes" else udp(port))
    assert talks(visitor)
    return visitor


@pytest.mark.parametrize("service", ["bytes", "datagrams"])
def test_a_session_through_a_tunnel_counts_once(
    stack: ExitStack, pair: tuple[Node, Node], service: str
) -> None:
    near, far = pair
    far.gateway.expected_alarms.append("worker_connections are not enough")
    for _ in range(2):
        visit(stack, near, service)
    # Who comes to a socket counts for it and for the one to the target: two and two and two.
    port = far.gateway.ports["beside"]
    for _ in range(2):
        assert talks(stack.enter_context(connect(port)))
    far.gateway.wait_for_log("6 worker_connections are not enough")
    before, _, _ = far.gateway.error_log().partition("worker_connections are not enough")
    assert before.count(f" connected to 127.0.0.1:{port}\n") == 2
    waiting = stack.enter_context(connect(port))
    far.delete("/tunnel", name="t").raise_for_status()
    assert talks(waiting)
