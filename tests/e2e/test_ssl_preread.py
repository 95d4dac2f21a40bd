"""`ssl_preread`: a look at the ClientHello decides where a TLS session goes, untouched."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
from tests.harness.certificates import name_of, server_context
from tests.harness.clients import ask_tls, connect, connect_tls, read_all, read_exactly, tls_context
from tests.harness.handlers import write_module
from tests.harness.servers import serve, serve_tls, tagged, tagged_after_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.certificates import Authority
    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    log_format seen '$status "$ssl_preread_server_name" "$ssl_preread_protocol" '
                    '"$ssl_preread_alpn_protocols"';
    access_log logs/access.log seen;
    map $ssl_preread_server_name $peer {
        one.test    127.0.0.1:@one;
        two.test    127.0.0.1:@two;
        default     127.0.0.1:@plain;
    }
    server {
        listen 127.0.0.1:@front;
        ssl_preread on;
        preread_timeout 300ms;
        proxy_pass $peer;
    }
    server {
        listen 127.0.0.1:@by_server_name;
        server_name default.test;
        ssl_preread on;
        return "default";
    }
    server {
        listen 127.0.0.1:@by_server_name;
        server_name two.test;
        proxy_pass 127.0.0.1:@two;
    }
}
"""


@pytest.fixture
def running(gateway: Gateway, authority: Authority) -> Iterator[Gateway]:
    one, two = (server_context(authority.issue(name)) for name in ("one.test", "two.test"))
    with (
        serve_tls(tagged("one"), one) as first,
        serve_tls(tagged("two"), two) as second,
        serve(tagged_after_request("plain")) as plain,
    ):
        gateway.write(CONFIG, one=first, two=second, plain=plain)
        yield gateway.start()


@pytest.mark.parametrize("name", ["one", "two"])
def test_the_name_chooses_the_peer(running: Gateway, name: str) -> None:
    with connect_tls(running.port("front"), f"{name}.test") as client:
        assert name_of(client.getpeercert(binary_form=True)) == f"{name}.test"
        assert read_all(client) == name.encode()


def test_what_was_seen(running: Gateway) -> None:
    context = tls_context(alpn=["h2", "http/1.1"])
    with connect_tls(running.port("front"), "one.test", context) as client:
        read_all(client)
    assert running.log_lines(1) == ['200 "one.test" "TLSv1.3" "h2,http/1.1"']


def test_an_older_version(running: Gateway) -> None:
    context = tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connect_tls(running.port("front"), "one.test", context) as client:
        read_all(client)
    assert running.log_lines(1) == ['200 "one.test" "TLSv1.2" ""']


def test_what_is_not_tls_passes(running: Gateway) -> None:
    with connect(running.port("front")) as client:
        client.sendall(b"hello, not TLS")
        assert read_all(client) == b"plain:hello, not TLS"


def test_a_hello_in_small_pieces(running: Gateway) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = tls_context().wrap_bio(incoming, outgoing, server_hostname="two.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with connect(running.port("front")) as client:
        for byte in outgoing.read():
            client.sendall(bytes([byte]))
        header = read_exactly(client, 5)
        assert header[0] == 22, "a handshake record answers"


def test_a_client_that_says_nothing_is_let_go(running: Gateway) -> None:
    with connect(running.port("front")) as client:
        assert read_all(client) == b""
    assert running.log_lines(1)[0].startswith("200 ")


def test_the_name_switches_the_virtual_server(running: Gateway) -> None:
    with connect_tls(running.port("by_server_name"), "two.test") as client:
        assert read_all(client) == b"two"
    with pytest.raises(ssl.SSLError):
        connect_tls(running.port("by_server_name"), "other.test")


def test_a_handler_sees_the_hello_and_what_it_says(gateway: Gateway, authority: Authority) -> None:
    write_module(
        gateway,
        "app",
        "async def look(session):\n"
        "    hello = await session.peek(5)\n"
        "    session.vars['seen'] = f'{hello[0]} {session.vars[\"ssl_preread_server_name\"]}'\n",
    )
    with serve_tls(tagged("one"), server_context(authority.issue("one.test"))) as peer:
        gateway.write(
            "stream { python_path ../py; log_format seen '$seen'; access_log logs/access.log seen;"
            "  server { listen 127.0.0.1:@site; set $seen ''; ssl_preread on;"
            "    preread_by_python app:look; proxy_pass 127.0.0.1:@peer; } }",
            peer=peer,
        )
        gateway.start()
        assert ask_tls(gateway.port("site"), "one.test") == b"one"
    assert gateway.log_lines(1) == ["22 one.test"]
