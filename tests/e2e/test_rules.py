"""`rules`: a table decides where a session goes, by what it begins with."""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest
from tests.harness.certificates import server_context
from tests.harness.clients import (
    ask,
    ask_udp,
    connect,
    connect_tls,
    connect_unix,
    read_all,
    read_exactly,
    tls_context,
)
from tests.harness.servers import (
    echo,
    serve,
    serve_tls,
    serve_udp,
    tagged,
    tagged_after_request,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.certificates import Authority
    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    log_format decided '$status $rule';
    access_log logs/access.log decided;
    upstream web { server 127.0.0.1:@web; }
    rules edge {
        rule office   source=127.0.2.0/24                  pass=127.0.0.1:@office;
        rule guests   source=127.0.3.0/24,unix:            reject=421;
        rule side     port=@side                           pass=127.0.0.1:@office;
        rule ssh      starts_with="SSH-"                   pass=127.0.0.1:@ssh;
        rule binary   starts_with=\\x00\\x01,\\x00\\x02    pass=127.0.0.1:@ssh;
        rule queue    alpn=mqtt                            pass=127.0.0.1:@queue;
        rule shop     sni=.shop.test,~^s[0-9]+\\.test$     pass=127.0.0.1:@shop;
        rule plain    tls=off                              pass=web;
    }
    server {
        listen 127.0.0.1:@front;
        listen 127.0.0.1:@side;
        listen unix:@path/front.sock;
        preread_timeout 300ms;
        proxy_pass rules:edge;
    }
}
"""


@pytest.fixture
def running(gateway: Gateway, authority: Authority) -> Iterator[Gateway]:
    context = server_context(authority.issue("any.test"))
    with (
        serve(tagged("office")) as office,
        serve(tagged_after_request("ssh")) as ssh,
        serve(tagged_after_request("web")) as web,
        serve_tls(tagged("queue"), context) as queue,
        serve_tls(tagged("shop"), context) as shop,
    ):
        gateway.write(
            CONFIG,
            office=office,
            ssh=ssh,
            web=web,
            queue=queue,
            shop=shop,
            path=gateway.prefix,
        )
        yield gateway.start()


def test_an_address_decides_before_the_client_says_anything(running: Gateway) -> None:
    assert ask(running.port("front"), source="127.0.2.7") == b"office"
    assert running.log_lines(1) == ["200 office"]


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"SSH-2.0-x", b"ssh:SSH-2.0-x"),
        (b"\x00\x02rest", b"ssh:\x00\x02rest"),
        (b"GET / HTTP/1.0", b"web:GET / HTTP/1.0"),
    ],
)
def test_first_bytes_decide_and_reach_the_peer(
    running: Gateway, sent: bytes, answer: bytes
) -> None:
    with connect(running.port("front")) as client:
        client.sendall(sent)
        assert read_all(client) == answer


def test_first_bytes_that_come_one_by_one(running: Gateway) -> None:
    with connect(running.port("front")) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"SSH-":
            client.sendall(bytes([byte]))
        # The peer reads once, and may get what follows with it.
        client.sendall(b"2")
        assert read_all(client).startswith(b"ssh:SSH-")


@pytest.mark.parametrize(
    ("name", "alpn", "answer"),
    [
        ("www.shop.test", None, b"shop"),
        ("shop.test", ["h2"], b"shop"),
        ("s42.test", None, b"shop"),
        ("any.test", ["http/1.1", "mqtt"], b"queue"),
    ],
)
def test_names_in_the_client_hello_decide(
    running: Gateway, name: str, alpn: list[str] | None, answer: bytes
) -> None:
    with connect_tls(running.port("front"), name, tls_context(alpn=alpn)) as client:
        assert read_all(client) == answer


def test_no_rule_matches(running: Gateway) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect_tls(running.port("front"), "other.test")
    assert running.log_lines(1) == ["403 default"]
    running.wait_for_log('rejected by rule "default"')


def test_a_rule_rejects(running: Gateway) -> None:
    assert ask(running.port("front"), source="127.0.3.1") == b""
    with connect_unix(running.prefix / "front.sock") as client:
        assert read_all(client) == b""
    assert running.log_lines(2) == ["421 guests", "421 guests"]


def test_a_client_that_waits_for_the_server_to_speak_gets_its_peer_in_time(
    running: Gateway,
) -> None:
    with connect(running.port("front"), source="127.0.4.1") as client:
        begun = time.monotonic()
        # `web` speaks second too; what shows is that it was connected.
        running.wait_for_log("proxy .* connected to")
        assert 0.25 <= time.monotonic() - begun < 5
        client.sendall(b"late")
        assert read_all(client) == b"web:late"
    assert running.log_lines(1) == ["200 plain"]


def test_the_port_that_the_client_addressed(running: Gateway) -> None:
    assert ask(running.port("side")) == b"office"


def test_bytes_that_are_not_waited_for_stay_in_order(gateway: Gateway) -> None:
    """A long stream behind the bytes that were looked at arrives whole."""
    with serve(echo) as peer:
        gateway.write(
            """stream {
                rules by_bytes { rule all starts_with=aaaa pass=127.0.0.1:@peer; }
                server { listen 127.0.0.1:@front; proxy_pass rules:by_bytes; }
            }""",
            peer=peer,
        )
        gateway.start()
        data = b"aaaa" + bytes(range(256)) * 2000
        with connect(gateway.port("front")) as client:
            client.sendall(data)
            assert read_exactly(client, len(data)) == data


def test_inside_terminated_tls_the_names_agreed_on_and_the_bytes_decide(
    gateway: Gateway, authority: Authority
) -> None:
    pair = authority.issue("front.test")
    with serve(tagged("named")) as named, serve(tagged_after_request("bytes")) as by_bytes:
        gateway.write(
            """stream {
                rules inside {
                    rule named sni=a.front.test        pass=127.0.0.1:@named;
                    rule bytes starts_with=hello tls=on pass=127.0.0.1:@by_bytes;
                }
                server {
                    listen 127.0.0.1:@front ssl;
                    ssl_certificate @certificate;
                    ssl_certificate_key @key;
                    proxy_pass rules:inside;
                }
            }""",
            named=named,
            by_bytes=by_bytes,
            certificate=pair.certificate,
            key=pair.key,
        )
        gateway.start()
        with connect_tls(gateway.port("front"), "a.front.test") as client:
            assert read_all(client) == b"named"
        with connect_tls(gateway.port("front"), "front.test") as client:
            client.sendall(b"hello inside")
            assert read_all(client) == b"bytes:hello inside"


def test_datagrams(gateway: Gateway) -> None:
    with (
        serve_udp(lambda data: [b"dns:" + data]) as dns,
        serve_udp(lambda data: [b"game:" + data]) as game,
    ):
        gateway.write(
            """stream {
                log_format decided '$status $rule';
                access_log logs/access.log decided;
                rules datagrams {
                    rule dns starts_with=\\x12\\x34 pass=127.0.0.1:@dns;
                    rule game source=127.0.2.0/24   pass=127.0.0.1:@game;
                }
                server {
                    listen 127.0.0.1:@front udp;
                    proxy_responses 1;
                    proxy_pass rules:datagrams;
                }
            }""",
            dns=dns,
            game=game,
        )
        gateway.start()
        port = gateway.port("front")
        assert ask_udp(port, b"\x12\x34?") == b"dns:\x12\x34?"
        assert ask_udp(port, b"move", source="127.0.2.1") == b"game:move"
        with pytest.raises(TimeoutError), socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(0.3)
            client.sendto(b"who", ("127.0.0.1", port))
            client.recv(100)
        assert "403 default" in gateway.log_lines(3)
