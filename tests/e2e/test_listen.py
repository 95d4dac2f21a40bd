"""`listen`: ranges, wildcards with specific addresses, both families, an address that is taken."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, ask_udp
from tests.harness.gateway import StartError
from tests.harness.servers import accept, listen, port_of

if TYPE_CHECKING:
    from tests.harness.gateway import Gateway

SPECIFIC = """
stream {
    server { listen @front; return "any $server_addr"; }
    server { listen 127.0.0.2:@front; return "two"; }
    server { listen @front udp; return "any $server_addr"; }
    server { listen 127.0.0.2:@front udp; return "two"; }
}
"""


def test_a_specific_address_goes_before_the_wildcard(gateway: Gateway) -> None:
    gateway.write(SPECIFIC)
    gateway.start()
    port = gateway.port("front")
    answers = [ask(port, host=f"127.0.0.{last}") for last in (1, 2, 4)]
    assert answers == [b"any 127.0.0.1", b"two", b"any 127.0.0.4"]
    answers = [ask_udp(port, b"x", host=f"127.0.0.{last}") for last in (1, 2)]
    assert answers == [b"any 127.0.0.1", b"two"]


def test_a_range_of_ports(gateway: Gateway) -> None:
    first = free_range(4)
    text = 'stream { server { listen 127.0.0.1:@first-@last; return "$server_port"; } }'
    gateway.write(text, first=first, last=first + 3)
    gateway.start()
    ports = range(first, first + 4)
    assert [int(ask(port)) for port in ports] == list(ports)
    with pytest.raises(ConnectionRefusedError):
        ask(first + 4)


def free_range(count: int) -> int:
    """Find so many free ports in a row, and one more."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            first = port_of(probe)
        sockets = [socket.socket() for _ in range(count + 1)]
        try:
            for offset, probe in enumerate(sockets):
                probe.bind(("127.0.0.1", first + offset))
        except (OSError, OverflowError):
            continue
        finally:
            for probe in sockets:
                probe.close()
        return first


def test_ipv6_alone_and_with_ipv4(gateway: Gateway) -> None:
    gateway.write("""
    stream {
        server { listen [::]:@six; return "$remote_addr"; }
        server { listen [::]:@both ipv6only=off; return "$remote_addr"; }
    }
    """)
    gateway.start()
    assert ask(gateway.port("six"), host="::1") == b"::1"
    with pytest.raises(ConnectionRefusedError):
        ask(gateway.port("six"))
    assert ask(gateway.port("both"), host="::1") == b"::1"
    assert ask(gateway.port("both")).endswith(b"127.0.0.1")


@pytest.mark.parametrize("options", ["", " bind", " reuseport", " so_keepalive=30m::10 backlog=64"])
def test_options(gateway: Gateway, options: str) -> None:
    main = "worker_processes 2;\nerror_log logs/error.log info;\nevents { }\n"
    text = f'stream {{ server {{ listen 127.0.0.1:@front{options}; return "ok"; }} }}'
    gateway.write(text, main)
    gateway.start()
    assert [ask(gateway.port("front")) for _ in range(20)] == [b"ok"] * 20


def test_an_address_that_is_taken(gateway: Gateway) -> None:
    gateway.expected_alarms.append("Address already in use")
    with listen() as other:
        address = f"127.0.0.1:{port_of(other)}"
        gateway.write(f'stream {{ server {{ listen {address}; return ""; }} }}')
        with pytest.raises(StartError, match=r"98: Address already in use"):
            gateway.start()
        with socket.create_connection(other.getsockname()), accept(other):
            pass


def test_the_source_address_towards_peers(gateway: Gateway) -> None:
    text = """
    stream {
        server {
            listen 127.0.0.1:@front;
            proxy_bind 127.0.0.77;
            proxy_pass 127.0.0.1:@peer;
        }
        server {
            listen 127.0.0.1:@variable;
            proxy_bind $remote_addr;
            proxy_pass 127.0.0.1:@peer;
        }
    }
    """
    with listen() as peer:
        gateway.write(text, peer=port_of(peer))
        gateway.start()
        for front, source, seen in (
            ("front", "127.0.0.1", "127.0.0.77"),
            ("variable", "127.0.0.78", "127.0.0.78"),
        ):
            address = ("127.0.0.1", gateway.port(front))
            with (
                socket.create_connection(address, source_address=(source, 0)),
                accept(peer) as there,
            ):
                assert there.getpeername()[0] == seen
