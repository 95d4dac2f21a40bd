"""TLS in front: certificates by name, versions, ALPN, rejection, handshake failures, relaying."""

from __future__ import annotations

import hashlib
import random
import ssl
from typing import TYPE_CHECKING

import pytest
from tests.harness.certificates import name_of
from tests.harness.clients import (
    ask,
    ask_tls,
    connect,
    connect_tls,
    is_reset,
    read_all,
    read_exactly,
    tls_context,
)
from tests.harness.servers import echo, serve, tagged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.certificates import Authority
    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    log_format ends '$status $protocol $server_name $ssl_protocol $ssl_server_name';
    access_log logs/access.log ends;
    ssl_handshake_timeout 300ms;
    server {
        listen 127.0.0.1:@names ssl;
        server_name one.test;
        ssl_certificate one.test.pem;
        ssl_certificate_key one.test.key;
        return "one";
    }
    server {
        listen 127.0.0.1:@names ssl;
        server_name two.test *.two.test;
        ssl_certificate two.test.pem;
        ssl_certificate_key two.test.key;
        return "two $ssl_server_name";
    }
    server {
        listen 127.0.0.1:@relay ssl;
        ssl_certificate one.test.pem;
        ssl_certificate_key one.test.key;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@reject ssl;
        ssl_reject_handshake on;
    }
    server {
        listen 127.0.0.1:@reject ssl;
        server_name one.test;
        ssl_certificate one.test.pem;
        ssl_certificate_key one.test.key;
        return "welcome";
    }
    server {
        listen 127.0.0.1:@old ssl;
        ssl_protocols TLSv1.2;
        ssl_alpn h2 custom;
        ssl_certificate one.test.pem;
        ssl_certificate_key one.test.key;
        return "$ssl_protocol $ssl_alpn_protocol";
    }
}
"""


@pytest.fixture
def running(gateway: Gateway, authority: Authority) -> Iterator[Gateway]:
    authority.issue("one.test")
    authority.issue("two.test", "*.two.test", rsa=True)
    with serve(echo) as port:
        gateway.write(CONFIG, peer=port)
        yield gateway.start()


@pytest.mark.parametrize(
    ("sni", "certificate", "answer"),
    [
        ("one.test", "one.test", b"one"),
        ("two.test", "two.test", b"two two.test"),
        ("a.b.two.test", "two.test", b"two a.b.two.test"),
        ("other.test", "one.test", b"one"),
        (None, "one.test", b"one"),
    ],
)
def test_name_selects_server_and_certificate(
    running: Gateway, sni: str | None, certificate: str, answer: bytes
) -> None:
    with connect_tls(running.port("names"), sni) as client:
        assert name_of(client.getpeercert(binary_form=True)) == certificate
        assert read_all(client) == answer


def test_the_chain_is_trusted(running: Gateway, authority: Authority) -> None:
    trusting = tls_context(authority.path)
    assert ask_tls(running.port("names"), "two.test", trusting) == b"two two.test"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(running: Gateway, version: ssl.TLSVersion) -> None:
    context = tls_context()
    context.minimum_version = context.maximum_version = version
    assert ask_tls(running.port("names"), "one.test", context) == b"one"
    shown = version.name.replace("_", ".")
    assert running.log_lines(1) == [f"200 TCP one.test {shown} one.test"]


def test_a_version_that_is_not_allowed(running: Gateway) -> None:
    context = tls_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises(ssl.SSLError):
        connect_tls(running.port("old"), context=context)


def test_alpn(running: Gateway) -> None:
    port = running.port("old")
    assert ask_tls(port, context=tls_context(alpn=["http/1.1", "custom"])) == b"TLSv1.2 custom"
    assert ask_tls(port) == b"TLSv1.2 "
    with pytest.raises(ssl.SSLError, match=r"NO_APPLICATION_PROTOCOL|no application protocol"):
        connect_tls(port, context=tls_context(alpn=["spdy"]))


def test_rejection(running: Gateway) -> None:
    for name in (None, "other.test"):
        with pytest.raises(ssl.SSLError, match=r"UNRECOGNIZED_NAME|unrecognized name"):
            connect_tls(running.port("reject"), name)
    assert ask_tls(running.port("reject"), "one.test") == b"welcome"


def test_large_transfer(running: Gateway) -> None:
    data = random.Random(3).randbytes(4 << 20)
    with connect_tls(running.port("relay")) as client:
        received = b""
        for start in range(0, len(data), 65536):
            client.sendall(data[start : start + 65536])
            received += read_exactly(client, 65536)
        client.unwrap().close()
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


def test_the_end_is_told_in_tls(running: Gateway) -> None:
    """A truncated stream would raise: the peer's end becomes a close_notify."""
    context = tls_context()
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    with serve(tagged("bye")) as port:
        running.stop()
        running.write(CONFIG, peer=port)
        running.start()
        assert ask_tls(running.port("relay"), context=context) == b"bye"


def test_what_is_not_tls_is_refused(running: Gateway) -> None:
    with connect(running.port("names")) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        is_reset(client)
    assert running.log_lines(1)[0].startswith("500 TCP one.test")


def test_a_client_that_never_speaks_is_let_go(running: Gateway) -> None:
    assert ask(running.port("names")) == b""


def test_sessions_resume(running: Gateway) -> None:
    context = tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connect_tls(running.port("relay"), "one.test", context) as first:
        session = first.session
    plain = connect(running.port("relay"))
    with context.wrap_socket(plain, server_hostname="one.test", session=session) as second:
        assert second.session_reused
