"""`return`: a text with variables, over TCP, UDP, IPv6 and to several clients at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.harness.clients import ask, ask_udp, connect, read_all, udp

if TYPE_CHECKING:
    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    server {
        listen 127.0.0.1:@plain;
        listen [::1]:@plain;
        return "hello\\n";
    }
    server {
        listen 127.0.0.1:@variables;
        return "$remote_addr to $server_addr:$server_port over $protocol, ${protocol}!";
    }
    server {
        listen 127.0.0.1:@datagrams udp;
        return "$protocol from $remote_addr\\n";
    }
    server {
        listen 127.0.0.1:@empty;
        return "";
    }
    server {
        listen 127.0.0.1:@missing;
        return "[$ssl_server_name]";
    }
}
"""


def test_text(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    gateway.start()
    assert ask(gateway.port("plain")) == b"hello\n"
    assert ask(gateway.port("plain"), host="::1") == b"hello\n"
    assert ask(gateway.port("empty")) == b""


def test_variables(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    gateway.start()
    port = gateway.port("variables")
    expected = f"127.0.0.7 to 127.0.0.1:{port} over TCP, TCP!"
    assert ask(port, source="127.0.0.7") == expected.encode()
    assert ask(gateway.port("missing")) == b"[]"


def test_every_datagram_is_answered(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    gateway.start()
    with udp(gateway.port("datagrams")) as client:
        for datagram in (b"one", b"", b"three"):
            client.send(datagram)
            assert client.recv(100) == b"UDP from 127.0.0.1\n"
    answer = ask_udp(gateway.port("datagrams"), b"x", source="127.0.0.8")
    assert answer == b"UDP from 127.0.0.8\n"


def test_what_the_client_sends_does_not_cut_the_answer_short(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    gateway.start()
    with connect(gateway.port("plain")) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert read_all(client) == b"hello\n"


def test_many_clients(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    gateway.start()
    with ThreadPoolExecutor(16) as clients:
        answers = clients.map(ask, [gateway.port("plain")] * 400)
    assert set(answers) == {b"hello\n"}
