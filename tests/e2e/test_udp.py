"""UDP: sessions by client and destination, replies, `proxy_requests` and `proxy_responses`."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask_udp, udp
from tests.harness.servers import serve_udp
from tests.harness.waiting import PATIENCE

if TYPE_CHECKING:
    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    log_format ends '$status $bytes_received $bytes_sent';
    access_log logs/access.log ends;
    server {
        listen 127.0.0.1:@open udp;
        proxy_timeout 1h;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@one_reply udp;
        proxy_responses 1;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@no_reply udp;
        proxy_responses 0;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@two_requests udp;
        proxy_requests 2;
        proxy_responses 1;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@silent udp;
        proxy_timeout 200ms;
        proxy_responses 1;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen @wildcard udp;
        return "$server_addr";
    }
}
"""


def upper(data: bytes) -> list[bytes]:
    return [data.upper()]


def test_datagrams_keep_their_bounds(gateway: Gateway) -> None:
    with serve_udp(upper) as peer:
        gateway.write(CONFIG, peer=peer)
        gateway.start()
        with udp(gateway.port("open")) as client:
            for data in (b"a", b"", b"ccc", b"x" * 1400, b"y" * 9000):
                client.send(data)
                assert client.recv(65536) == data.upper()


def test_each_client_has_a_session_of_its_own(gateway: Gateway) -> None:
    with serve_udp(upper) as peer:
        gateway.write(CONFIG, peer=peer)
        gateway.start()
        port = gateway.port("open")
        with udp(port) as first, udp(port) as second:
            first.send(b"first")
            second.send(b"second")
            assert (second.recv(100), first.recv(100)) == (b"SECOND", b"FIRST")


def test_one_session_has_one_address_towards_the_peer(gateway: Gateway) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(PATIENCE)
        gateway.write(CONFIG, peer=peer.getsockname()[1])
        gateway.start()
        with udp(gateway.port("open")) as client:
            client.send(b"1")
            _, origin = peer.recvfrom(10)
            client.send(b"2")
            assert peer.recvfrom(10) == (b"2", origin)
            for reply in (b"a", b"b", b"c"):
                peer.sendto(reply, origin)
            assert [client.recv(10) for _ in range(3)] == [b"a", b"b", b"c"]


def test_the_expected_replies_end_the_session(gateway: Gateway) -> None:
    with serve_udp(upper) as peer:
        gateway.write(CONFIG, peer=peer)
        gateway.start()
        assert ask_udp(gateway.port("one_reply"), b"abc") == b"ABC"
        assert gateway.log_lines(1) == ["200 3 3"]


def test_requests_of_a_session_are_limited(gateway: Gateway) -> None:
    with serve_udp(upper) as peer:
        gateway.write(CONFIG, peer=peer)
        gateway.start()
        with udp(gateway.port("two_requests")) as client:
            for data in (b"1", b"2", b"3", b"4"):
                client.send(data)
                assert client.recv(10) == data
        assert gateway.log_lines(2) == ["200 2 2", "200 2 2"]


@pytest.mark.parametrize(("listener", "logged"), [("no_reply", "200 8 0"), ("silent", "502 8 0")])
def test_a_missing_reply_is_a_bad_gateway_where_one_is_expected(
    gateway: Gateway, listener: str, logged: str
) -> None:
    with serve_udp(lambda _: []) as peer:
        gateway.write(CONFIG, peer=peer)
        gateway.start()
        with udp(gateway.port(listener)) as client:
            client.send(b"anybody?")
            assert gateway.log_lines(1) == [logged]


def test_replies_come_from_the_address_that_was_asked(gateway: Gateway) -> None:
    gateway.write(CONFIG, peer=9)
    gateway.start()
    for host in ("127.0.0.1", "127.0.0.9"):
        assert ask_udp(gateway.port("wildcard"), b"who?", host=host) == host.encode()


def test_bursts_are_not_lost(gateway: Gateway) -> None:
    with serve_udp(upper) as peer:
        gateway.write(CONFIG, peer=peer)
        gateway.start()
        with udp(gateway.port("open")) as client:
            expected = {f"D{number}".encode() for number in range(50)}
            for data in expected:
                client.send(data.lower())
            assert {client.recv(100) for _ in expected} == expected
