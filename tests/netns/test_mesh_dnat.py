"""`mesh` over TCP: DNAT leads many ports to one listener, and the original one chooses the server.

Locally and from a second namespace, over IPv4 and IPv6; the NJet example runs unmodified.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from tests.harness.certificates import name_of
from tests.harness.clients import ask, ask_tls, ask_udp, connect_tls
from tests.harness.netns import GATEWAY, GATEWAY_6
from tests.harness.njet import DEFAULT_NAME, OK, RSA_BODY, RSA_NAME, VirtualServers, lay_out
from tests.harness.servers import listen, serve, tagged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway
    from tests.harness.netns import Cable, Namespace

CONFIG = """
stream {
    map $njtmesh_port $mesh_server_name {
        17082   by-port;
        17083   denied;
        default none;
    }
    server {
        listen 22222 mesh;
        listen [::]:22222 mesh;
        return "default $njtmesh_dest";
    }
    server {
        listen 22222 mesh;
        listen [::]:22222 mesh;
        server_name by-port;
        return "$server_name $njtmesh_dest $njtmesh_ip $njtmesh_port";
    }
    server {
        listen 22222 mesh;
        listen [::]:22222 mesh;
        server_name denied;
        deny all;
        return "never";
    }
    server {
        listen 22333;
        return "plain [$njtmesh_dest$njtmesh_ip$njtmesh_port]";
    }
}
"""


def rewrite(ends: Cable, ports: dict[int, int]) -> None:
    """Lead TCP ports of the gateway to others, as NJet's documentation does."""
    hosts = {"iptables": (GATEWAY, GATEWAY), "ip6tables": (GATEWAY_6, f"[{GATEWAY_6}]")}
    for tool, (host, written) in hosts.items():
        for chain in ("OUTPUT", "PREROUTING"):
            for port, target in ports.items():
                ends.gateway.run(
                    f"{tool} -t nat -A {chain} -d {host} -p tcp -m tcp --dport {port}"
                    f" -j DNAT --to-destination {written}:{target}"
                )


@pytest.fixture(params=["local", "remote"])
def client(request: pytest.FixtureRequest, ends: Cable) -> Namespace:
    return ends.gateway if request.param == "local" else ends.client


@pytest.mark.parametrize("host", [GATEWAY, GATEWAY_6])
def test_the_original_destination(
    gateway: Gateway, ends: Cable, client: Namespace, host: str
) -> None:
    rewrite(ends, {17082: 22222, 17083: 22222, 17084: 22222})
    gateway.write(CONFIG)
    with ends.gateway.inside():
        gateway.start()
    shown = f"[{host}]" if ":" in host else host
    with client.inside():
        answer = f"by-port {shown}:17082 {host} 17082"
        assert ask(17082, host=host) == answer.encode()
        assert ask(17084, host=host) == f"default {shown}:17084".encode()
        assert ask(22222, host=host) == f"default {shown}:22222".encode()
        with contextlib.suppress(ConnectionResetError):
            assert ask(17083, host=host) == b""


def test_other_listeners_know_no_destination(gateway: Gateway, ends: Cable) -> None:
    gateway.write(CONFIG)
    with ends.gateway.inside():
        gateway.start()
        assert ask(22333, host=GATEWAY) == b"plain []"


@pytest.fixture
def example(gateway: Gateway, ends: Cable) -> Iterator[VirtualServers]:
    rewrite(ends, {17082: 22222, 19082: 22224})
    with ends.gateway.inside(), serve(tagged("from the peer"), listen(port=5555)):
        lay_out(gateway, "njet.conf")
        gateway.start()
        with gateway.api(8081) as api:
            yield VirtualServers(api)


def test_the_njet_example(example: VirtualServers, client: Namespace) -> None:
    assert ask(22222, host=GATEWAY) == b"from the peer"
    assert ask_udp(22223, b"x", host=GATEWAY) == b"22223 udp ok"
    with client.inside():
        assert ask(17082, host=GATEWAY) == b"from the peer"
    assert example.add("0.0.0.0:22222", "server-17082", 'return "17082 ok";') == OK
    with client.inside():
        assert ask(17082, host=GATEWAY) == b"17082 ok"
        assert ask(22222, host=GATEWAY) == b"from the peer"
    assert example.delete("0.0.0.0:22222", "server-17082") == OK
    with client.inside():
        assert ask(17082, host=GATEWAY) == b"from the peer"


def test_the_port_chooses_the_certificate(example: VirtualServers, client: Namespace) -> None:
    assert example.add("0.0.0.0:22224", RSA_NAME, RSA_BODY) == OK
    with client.inside():
        for name in (None, "unknown.test", RSA_NAME):
            with connect_tls(19082, name, host=GATEWAY) as tls:
                assert name_of(tls.getpeercert(binary_form=True)) == RSA_NAME
                assert tls.recv(100) == b"ssl ok"
        with connect_tls(22224, host=GATEWAY) as tls:
            assert name_of(tls.getpeercert(binary_form=True)) == DEFAULT_NAME


def test_a_rejecting_default(gateway: Gateway, ends: Cable, client: Namespace) -> None:
    rewrite(ends, {19082: 22224})
    lay_out(gateway, "njet-reject.conf")

    def is_rejected(port: int) -> bool:
        try:
            return not ask_tls(port, host=GATEWAY)
        except ssl.SSLError as error:
            return "UNRECOGNIZED_NAME" in str(error) or "unrecognized name" in str(error)

    with ends.gateway.inside():
        gateway.start()
        servers = VirtualServers(gateway.api(8081))
    with client.inside():
        assert is_rejected(19082)
    with ends.gateway.inside(), servers.client:
        assert servers.add("0.0.0.0:22224", RSA_NAME, RSA_BODY) == OK
        with client.inside():
            assert ask_tls(19082, host=GATEWAY) == b"ssl ok"
            assert ask_tls(22224, RSA_NAME, host=GATEWAY) == b"ssl ok"
            assert is_rejected(22224)
        assert servers.delete("0.0.0.0:22224", RSA_NAME) == OK
    with client.inside():
        assert is_rejected(19082)


def test_established_sessions_outlive_their_server(
    example: VirtualServers, client: Namespace
) -> None:
    with listen() as peer:
        body = f"proxy_pass 127.0.0.1:{peer.getsockname()[1]};"
        assert example.add("0.0.0.0:22222", "server-17082", body) == OK
        with client.inside():
            held = socket.create_connection((GATEWAY, 17082), timeout=10)
        there, _ = peer.accept()
        assert example.delete("0.0.0.0:22222", "server-17082") == OK
        with held, there:
            held.sendall(b"still here")
            assert there.recv(100) == b"still here"
            there.sendall(b"yes")
            assert held.recv(100) == b"yes"
