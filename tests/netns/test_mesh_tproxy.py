"""`mesh` over UDP: TPROXY leads many ports to one listener, and answers come from the original one.

Locally and from a second namespace, over IPv4 and IPv6, to addresses that are not ours as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask_udp, udp
from tests.harness.netns import GATEWAY, GATEWAY_6
from tests.harness.njet import OK, VirtualServers, lay_out
from tests.harness.servers import serve_udp

if TYPE_CHECKING:
    from tests.harness.gateway import Gateway
    from tests.harness.netns import Cable, Namespace

CONFIG = """
stream {
    map $njtmesh_port $mesh_server_name {
        18082   by-port;
        18083   relayed;
        default none;
    }
    server {
        listen 22223 udp mesh;
        listen [::]:22223 udp mesh;
        return "default $njtmesh_dest";
    }
    server {
        listen 22223 udp mesh;
        listen [::]:22223 udp mesh;
        server_name by-port;
        return "$server_name $njtmesh_dest $njtmesh_ip $njtmesh_port";
    }
    server {
        listen 22223 udp mesh;
        listen [::]:22223 udp mesh;
        server_name relayed;
        proxy_pass 127.0.0.1:@peer;
    }
}
"""
FOREIGN = "10.99.0.9"


def divert(ends: Cable, *ports: int, hosts: tuple[str, ...] = (GATEWAY, GATEWAY_6)) -> None:
    """Lead UDP ports to the listener, as NJet's documentation does."""
    for host in hosts:
        tool = "ip6tables" if ":" in host else "iptables"
        for port in ports:
            ends.gateway.run(
                f"{tool} -t mangle -A PREROUTING -p udp -d {host} --dport {port}"
                " -j TPROXY --tproxy-mark 0x1/0x1 --on-port 22223"
            )


@pytest.fixture(params=["local", "remote"])
def client(request: pytest.FixtureRequest, ends: Cable) -> Namespace:
    return ends.gateway if request.param == "local" else ends.client


def start(gateway: Gateway, ends: Cable, peer: int = 9) -> None:
    gateway.write(CONFIG, peer=peer)
    with ends.gateway.inside():
        gateway.start()


@pytest.mark.parametrize("host", [GATEWAY, GATEWAY_6])
def test_the_original_destination(
    gateway: Gateway, ends: Cable, client: Namespace, host: str
) -> None:
    divert(ends, 18082, 18084)
    start(gateway, ends)
    shown = f"[{host}]" if ":" in host else host
    with client.inside():
        answer = f"by-port {shown}:18082 {host} 18082"
        assert ask_udp(18082, b"x", host=host) == answer.encode()
        assert ask_udp(18084, b"x", host=host) == f"default {shown}:18084".encode()
        assert ask_udp(22223, b"x", host=host) == f"default {shown}:22223".encode()


@pytest.mark.parametrize("host", [GATEWAY, GATEWAY_6])
def test_answers_of_a_peer(gateway: Gateway, ends: Cable, client: Namespace, host: str) -> None:
    divert(ends, 18083)
    with ends.gateway.inside():
        peer = serve_udp(lambda data: [data.upper(), data + b"!"])
        port = peer.__enter__()
    try:
        start(gateway, ends, port)
        with client.inside(), udp(18083, host) as connection:
            for data in (b"one", b"two"):
                connection.send(data)
                assert connection.recv(100) == data.upper()
                assert connection.recv(100) == data + b"!"
    finally:
        with ends.gateway.inside():
            peer.__exit__(None, None, None)


def test_one_client_port_and_two_destinations(
    gateway: Gateway, ends: Cable, client: Namespace
) -> None:
    """The destination is part of a session's key."""
    divert(ends, 18082, 18084)
    start(gateway, ends)
    with client.inside(), udp(18082, GATEWAY) as connection:
        answers = []
        for port in (18082, 18084, 18082):
            connection.connect((GATEWAY, port))
            connection.send(b"x")
            answers.append(connection.recv(100).split()[0])
    assert answers == [b"by-port", b"default", b"by-port"]


def test_a_destination_that_is_not_ours(gateway: Gateway, ends: Cable, client: Namespace) -> None:
    divert(ends, 18082, hosts=(FOREIGN,))
    ends.gateway.run("ip rule add fwmark 1 lookup 100")
    ends.gateway.run("ip route add local 0.0.0.0/0 dev lo table 100")
    ends.gateway.run("ip route add 10.99.0.0/24 dev cable")
    ends.gateway.run(
        f"iptables -t mangle -A OUTPUT -p udp -d {FOREIGN} --dport 18082 -j MARK --set-mark 1"
    )
    start(gateway, ends)
    with client.inside():
        answer = f"by-port {FOREIGN}:18082 {FOREIGN} 18082"
        assert ask_udp(18082, b"x", host=FOREIGN) == answer.encode()


def test_the_njet_example(gateway: Gateway, ends: Cable, client: Namespace) -> None:
    divert(ends, 18082, hosts=(GATEWAY,))
    lay_out(gateway, "njet.conf")
    with ends.gateway.inside():
        gateway.start()
        servers = VirtualServers(gateway.api(8081))
    with ends.gateway.inside(), servers.client:
        address = "0.0.0.0:22223 udp"
        assert servers.add(address, "server-18082", 'return "18082 ok";') == OK
        with client.inside():
            assert ask_udp(18082, b"x", host=GATEWAY) == b"18082 ok"
            assert ask_udp(22223, b"x", host=GATEWAY) == b"22223 udp ok"
        assert servers.delete(address, "server-18082") == OK
        with client.inside():
            assert ask_udp(18082, b"x", host=GATEWAY) == b"22223 udp ok"
