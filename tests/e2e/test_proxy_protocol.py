"""The PROXY protocol, received and sent, version 1 and 2."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, connect, connect_tls, is_reset, read_all, read_exactly
from tests.harness.servers import accept, listen, port_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.certificates import Authority
    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    log_format seen '$status $remote_addr';
    access_log logs/access.log seen;
    server {
        listen 127.0.0.1:@reads proxy_protocol;
        proxy_protocol_timeout 300ms;
        set $from "$proxy_protocol_addr:$proxy_protocol_port";
        set $to "$proxy_protocol_server_addr:$proxy_protocol_server_port";
        return "$from to $to by $remote_addr";
    }
    server {
        listen 127.0.0.1:@relays proxy_protocol;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@version_1;
        proxy_protocol on;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@version_2;
        proxy_protocol v2;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@tls ssl proxy_protocol;
        ssl_certificate any.pem;
        ssl_certificate_key any.key;
        return "$proxy_protocol_addr";
    }
}
"""
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
SEEN = b"192.0.2.1:1111 to 192.0.2.2:2222 by 127.0.0.1"
V2_ADDRESSES = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + struct.pack("!HH", 1111, 2222)


@pytest.fixture
def peer(gateway: Gateway, authority: Authority) -> Iterator[socket.socket]:
    authority.issue("any.test", stem="any")
    with listen() as listener:
        gateway.write(CONFIG, peer=port_of(listener))
        gateway.start()
        yield listener


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n", SEEN),
        (SIGNATURE + b"\x21\x11" + struct.pack("!H", 12) + V2_ADDRESSES, SEEN),
        (
            b"PROXY TCP6 2001:db8::1 2001:db8::2 1111 2222\r\n",
            b"2001:db8::1:1111 to 2001:db8::2:2222 by 127.0.0.1",
        ),
        (b"PROXY UNKNOWN\r\n", b": to : by 127.0.0.1"),
        (SIGNATURE + b"\x20\x00\x00\x00", b": to : by 127.0.0.1"),
    ],
)
def test_addresses_of_the_header(
    gateway: Gateway, peer: socket.socket, header: bytes, answer: bytes
) -> None:
    assert peer
    assert ask(gateway.port("reads"), header) == answer


def test_what_follows_the_header_is_relayed(gateway: Gateway, peer: socket.socket) -> None:
    with connect(gateway.port("relays")) as client:
        client.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nfirst bytes")
        with accept(peer) as there:
            assert read_exactly(there, 11) == b"first bytes"


def test_a_broken_header(gateway: Gateway, peer: socket.socket) -> None:
    assert peer
    with connect(gateway.port("reads")) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        is_reset(client)
    assert gateway.log_lines(1) == ["400 127.0.0.1"]
    gateway.wait_for_log("broken header: .*while reading PROXY protocol")


def test_a_missing_header(gateway: Gateway, peer: socket.socket) -> None:
    assert peer
    with connect(gateway.port("reads")) as client:
        is_reset(client)
    assert gateway.log_lines(1) == ["200 127.0.0.1"]


def test_before_tls(gateway: Gateway, peer: socket.socket) -> None:
    assert peer
    port = gateway.port("tls")
    original = socket.socket.connect

    def connect_with_header(self: socket.socket, address: tuple[str, int]) -> None:
        original(self, address)
        self.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 2222\r\n")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_with_header)
        with connect_tls(port) as client:
            assert read_all(client) == b"192.0.2.1"


def test_version_1_is_sent(gateway: Gateway, peer: socket.socket) -> None:
    with connect(gateway.port("version_1"), source="127.0.0.5") as client:
        client.sendall(b"data")
        source = client.getsockname()[1]
        header = f"PROXY TCP4 127.0.0.5 127.0.0.1 {source} {gateway.port('version_1')}\r\n"
        with accept(peer) as there:
            assert read_exactly(there, len(header) + 4) == header.encode() + b"data"


def test_version_2_is_sent(gateway: Gateway, peer: socket.socket) -> None:
    with connect(gateway.port("version_2"), source="127.0.0.5") as client:
        with accept(peer) as there:
            start = read_exactly(there, 16)
            assert start[:14] == SIGNATURE + b"\x21\x11"
            rest = read_exactly(there, int.from_bytes(start[14:], "big"))
        ports = struct.pack("!HH", client.getsockname()[1], gateway.port("version_2"))
        assert rest[:12] == bytes([127, 0, 0, 5, 127, 0, 0, 1]) + ports
