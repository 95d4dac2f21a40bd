"""`mesh` into a tunnel: redirected traffic chooses a server whose peer is at the other end."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, ask_udp
from tests.harness.netns import CLIENT, GATEWAY, Cable
from tests.harness.servers import serve, serve_udp, tagged_after_request
from tests.harness.tunnels import new_secret, start_node, stop_node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """
stream {
    map $njtmesh_port $mesh_server_name {
        17082   through;
        18082   through;
        default none;
    }
    server { listen 22222 mesh; return "default"; }
    server { listen 22222 mesh; server_name through; proxy_half_close on; proxy_pass tunnel:t/web; }
    server { listen 22223 udp mesh; return "default"; }
    server { listen 22223 udp mesh; server_name through; proxy_pass tunnel:t/echo; }
}
"""


@pytest.fixture
def redirected(ends: Cable, tmp_path: Path) -> Iterator[Cable]:
    """Lead TCP and UDP ports of the gateway's host into a tunnel that ends there, too."""
    for port in (17082, 17084):
        ends.gateway.run(
            f"iptables -t nat -A PREROUTING -d {GATEWAY} -p tcp --dport {port}"
            f" -j DNAT --to-destination {GATEWAY}:22222"
        )
    for port in (18082, 18084):
        ends.gateway.run(
            f"iptables -t mangle -A PREROUTING -p udp -d {GATEWAY} --dport {port}"
            " -j TPROXY --tproxy-mark 0x1/0x1 --on-port 22223"
        )
    secret = new_secret()
    with ExitStack() as stack:
        # Servers end where they began.
        stack.enter_context(ends.gateway.inside())
        target = stack.enter_context(serve(tagged_after_request("target")))
        echo = stack.enter_context(serve_udp(lambda data: [data]))
        services = f"""
            service web remote 127.0.0.1:{target} proxy_protocol=v1; bind t web remote;
            service echo remote 127.0.0.1:{echo} udp; bind t echo remote;
        """
        far = start_node(tmp_path / "far", "far", secret, services)
        stack.callback(stop_node, far)
        dial = f"tunnel t 127.0.0.1:{far.tunnel_port};"
        near = start_node(tmp_path / "near", "near", secret, dial, CONFIG)
        stack.callback(stop_node, near)
        yield ends


def test_connections_and_datagrams(redirected: Cable) -> None:
    with redirected.client.inside():
        answer = ask(17082, b"hello", host=GATEWAY)
        assert answer.startswith(f"target:PROXY TCP4 {CLIENT} {GATEWAY} ".encode())
        assert ask(17084, host=GATEWAY) == b"default"
        assert ask_udp(18082, b"hello", host=GATEWAY) == b"hello"
        assert ask_udp(18084, b"hello", host=GATEWAY) == b"default"
