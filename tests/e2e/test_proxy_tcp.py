"""Relaying TCP: every byte, in order, both ways; ends, resets, silence and slow readers."""

from __future__ import annotations

import hashlib
import random
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, connect, is_reset, read_all, read_exactly, reset
from tests.harness.servers import accept, echo, listen, port_of, serve, tagged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    log_format ends '$status $bytes_received $bytes_sent $upstream_bytes_sent';
    access_log logs/access.log ends;
    server {
        listen 127.0.0.1:@front;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@half_close;
        proxy_half_close on;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@impatient;
        proxy_timeout 200ms;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@small_buffer;
        proxy_buffer_size 1k;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@refused;
        proxy_pass 127.0.0.1:@nobody;
    }
}
"""
MEBIBYTE = 1 << 20


@pytest.fixture
def peer(gateway: Gateway) -> Iterator[socket.socket]:
    with listen() as listener:
        gateway.write(CONFIG, peer=port_of(listener))
        gateway.start()
        yield listener


def pair(gateway: Gateway, peer: socket.socket, front: str) -> tuple[socket.socket, socket.socket]:
    """Connect through the gateway; return the client's end and the peer's."""
    client = connect(gateway.port(front))
    return client, accept(peer)


def exchange(client: socket.socket, there: socket.socket) -> None:
    """Send a byte each way, so that the session is seen to be up."""
    client.sendall(b"x")
    assert there.recv(1) == b"x"
    there.sendall(b"x")
    assert client.recv(1) == b"x"


def test_bytes_go_both_ways(gateway: Gateway, peer: socket.socket) -> None:
    client, there = pair(gateway, peer, "front")
    with client, there:
        client.sendall(b"question")
        assert read_exactly(there, 8) == b"question"
        there.sendall(b"answer")
        assert read_exactly(client, 6) == b"answer"
        client.sendall(b"more")
        assert read_exactly(there, 4) == b"more"
    assert gateway.log_lines(1) == ["200 12 6 12"]


def test_the_peer_may_speak_first(gateway: Gateway, peer: socket.socket) -> None:
    client, there = pair(gateway, peer, "front")
    with client, there:
        there.sendall(b"220 ready\r\n")
        assert read_exactly(client, 11) == b"220 ready\r\n"


def test_the_end_of_one_side_ends_both(gateway: Gateway, peer: socket.socket) -> None:
    client, there = pair(gateway, peer, "front")
    with client, there:
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert read_all(there) == b"last words"
        assert read_all(client) == b""
    client, there = pair(gateway, peer, "front")
    with client, there:
        there.sendall(b"last words")
        there.close()
        assert read_all(client) == b"last words"


def test_half_close_keeps_the_other_direction(gateway: Gateway, peer: socket.socket) -> None:
    client, there = pair(gateway, peer, "half_close")
    with client, there:
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)
        assert read_all(there) == b"request"
        there.sendall(b"a late ")
        assert read_exactly(client, 7) == b"a late "
        there.sendall(b"answer")
        there.close()
        assert read_all(client) == b"answer"


def test_a_reset_is_passed_on_as_a_reset(gateway: Gateway, peer: socket.socket) -> None:
    client, there = pair(gateway, peer, "front")
    with client:
        exchange(client, there)
        reset(there)
        assert is_reset(client)
    client, there = pair(gateway, peer, "front")
    with there:
        exchange(client, there)
        reset(client)
        assert is_reset(there)


def test_silence_ends_the_session(gateway: Gateway, peer: socket.socket) -> None:
    client, there = pair(gateway, peer, "impatient")
    with client, there:
        client.sendall(b"x")
        assert read_all(there) == b"x"
        assert read_all(client) == b""
    assert gateway.log_lines(1) == ["200 1 0 1"]


def test_a_peer_that_refuses_is_a_bad_gateway(gateway: Gateway, peer: socket.socket) -> None:
    assert peer
    assert ask(gateway.port("refused")) == b""
    assert gateway.log_lines(1) == ["502 0 0 0"]
    gateway.wait_for_log(r"connect\(\) failed \(111: Connection refused\)")


@pytest.mark.parametrize("front", ["front", "small_buffer", "half_close"])
def test_large_transfers_both_ways_at_once(gateway: Gateway, front: str) -> None:
    with serve(echo) as port:
        gateway.write(CONFIG, peer=port)
        gateway.start()
        sent, received = hashlib.sha256(), hashlib.sha256()
        dice = random.Random(1)
        blocks = [dice.randbytes(dice.randrange(1, MEBIBYTE)) for _ in range(64)]
        with connect(gateway.port(front)) as client:

            def send() -> None:
                for block in blocks:
                    sent.update(block)
                    client.sendall(block)

            sender = threading.Thread(target=send)
            sender.start()
            for left in range(sum(map(len, blocks)), 0, -MEBIBYTE):
                received.update(read_exactly(client, min(left, MEBIBYTE)))
            sender.join()
        assert received.digest() == sent.digest()


def test_bytes_before_the_end_all_arrive(gateway: Gateway) -> None:
    """Also with a receiver that reads only when the sender has gone."""
    data = random.Random(2).randbytes(8 * MEBIBYTE)

    def flood(connection: socket.socket) -> None:
        connection.sendall(data)

    with serve(flood) as port:
        gateway.write(CONFIG, peer=port)
        gateway.start()
        with connect(gateway.port("front")) as client:
            assert hashlib.sha256(read_all(client)).digest() == hashlib.sha256(data).digest()


def test_a_slow_reader_holds_the_sender_back(gateway: Gateway, peer: socket.socket) -> None:
    client, there = pair(gateway, peer, "front")
    with client, there:
        client.setblocking(False)
        block = bytes(MEBIBYTE)
        sent = 0
        with pytest.raises(BlockingIOError):
            while sent < 256 * MEBIBYTE:
                sent += client.send(block)
        client.settimeout(10)
        assert sent < 64 * MEBIBYTE
        taken = read_exactly(there, sent)
        client.sendall(b"end")
        assert (len(taken), read_exactly(there, 3)) == (sent, b"end")


def test_two_hundred_sessions_at_once(gateway: Gateway) -> None:
    with serve(echo) as port:
        gateway.write(CONFIG, peer=port)
        gateway.start()
        clients = [connect(gateway.port("front")) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(f"session {number:05}".encode())
        for number, client in enumerate(clients):
            assert read_exactly(client, 13) == f"session {number:05}".encode()
            client.close()
        assert len(gateway.log_lines(200)) == 200


def test_a_peer_over_ipv6(gateway: Gateway) -> None:
    config = "stream { server { listen [::1]:@front; proxy_pass [::1]:@peer; } }"
    with serve(tagged("six"), listen("::1")) as port:
        gateway.write(config, peer=port)
        gateway.start()
        assert ask(gateway.port("front"), host="::1") == b"six"
