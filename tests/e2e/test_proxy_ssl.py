"""`proxy_ssl`: TLS towards peers, their certificates and names, and one of our own."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from tests.harness.certificates import Authority, server_context
from tests.harness.clients import ask, ask_tls
from tests.harness.servers import serve_tls

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    log_format ends '$status';
    access_log logs/access.log ends;
    proxy_ssl on;
    server {
        listen 127.0.0.1:@plain;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@named;
        proxy_ssl_server_name on;
        proxy_ssl_name peer.test;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@verified;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate authority.pem;
        proxy_ssl_name peer.test;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@wrong_name;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate authority.pem;
        proxy_ssl_name other.test;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@stranger;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate stranger/authority.pem;
        proxy_ssl_name peer.test;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@identified;
        proxy_ssl_certificate gateway.test.pem;
        proxy_ssl_certificate_key gateway.test.key;
        proxy_pass 127.0.0.1:@strict;
    }
    server {
        listen 127.0.0.1:@unidentified;
        proxy_pass 127.0.0.1:@strict;
    }
    server {
        listen 127.0.0.1:@both ssl;
        ssl_certificate gateway.test.pem;
        ssl_certificate_key gateway.test.key;
        proxy_pass 127.0.0.1:@peer;
    }
}
"""


@pytest.fixture
def running(gateway: Gateway, authority: Authority) -> Iterator[Gateway]:
    Authority(authority.directory / "stranger")
    authority.issue("gateway.test")
    context = server_context(authority.issue("peer.test"))
    strict = server_context(authority.issue("strict.test"))
    strict.verify_mode = ssl.CERT_REQUIRED
    strict.load_verify_locations(authority.path)
    names: list[str | None] = [None]

    def see_name(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        names.append(name)

    def answer(connection: socket.socket) -> None:
        connection.sendall(f"sni {names[-1]}".encode())

    context.sni_callback = see_name
    with serve_tls(answer, context) as peer, serve_tls(answer, strict) as strict_peer:
        gateway.write(CONFIG, peer=peer, strict=strict_peer)
        yield gateway.start()


def test_plain_in_front_tls_behind(running: Gateway) -> None:
    assert ask(running.port("plain")) == b"sni None"


def test_the_name_that_is_sent(running: Gateway) -> None:
    assert ask(running.port("named")) == b"sni peer.test"


def test_a_certificate_that_is_verified(running: Gateway) -> None:
    assert ask(running.port("verified")) == b"sni None"


@pytest.mark.parametrize("front", ["wrong_name", "stranger"])
def test_a_certificate_that_is_refused(running: Gateway, front: str) -> None:
    assert ask(running.port(front)) == b""
    assert running.log_lines(1) == ["502"]
    running.wait_for_log("while SSL handshaking to upstream")


def test_a_certificate_of_the_gateway_s_own(running: Gateway) -> None:
    assert ask(running.port("identified")) == b"sni None"
    assert ask(running.port("unidentified")) == b""


def test_tls_on_both_sides(running: Gateway) -> None:
    assert ask_tls(running.port("both")) == b"sni None"
