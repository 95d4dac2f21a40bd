"""`allow` and `deny`: the first rule that matches decides, before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.clients import ask, connect, is_reset, udp

if TYPE_CHECKING:
    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    log_format ends '$remote_addr $status';
    access_log logs/access.log ends;
    server {
        listen 127.0.0.1:@front;
        listen [::1]:@front;
        deny 127.0.0.2;
        allow 127.0.0.0/29;
        allow ::1;
        deny all;
        return "in";
    }
    deny 127.0.0.9;
    server {
        listen 127.0.0.1:@inherits;
        return "in";
    }
    server {
        listen 127.0.0.1:@datagrams udp;
        deny 127.0.0.2;
        return "in";
    }
}
"""


def is_refused(port: int, source: str) -> bool:
    """Whether the connection ends with nothing sent."""
    try:
        return ask(port, source=source) == b""
    except ConnectionResetError:
        return True


def test_the_first_match_decides(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    gateway.start()
    port = gateway.port("front")
    assert ask(port) == b"in"
    assert ask(port, source="127.0.0.7") == b"in"
    assert is_refused(port, "127.0.0.2")
    assert is_refused(port, "127.0.0.8")
    assert ask(port, host="::1") == b"in"
    lines = ["127.0.0.1 200", "127.0.0.7 200", "127.0.0.2 403", "127.0.0.8 403", "::1 200"]
    assert gateway.log_lines(5) == lines
    gateway.wait_for_log(r"access forbidden by rule.*client: 127\.0\.0\.8")


def test_rules_of_the_stream_block(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    gateway.start()
    assert ask(gateway.port("inherits")) == b"in"
    assert is_refused(gateway.port("inherits"), "127.0.0.9")


def test_datagrams(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    gateway.start()
    with udp(gateway.port("datagrams"), source="127.0.0.2") as denied:
        denied.send(b"x")
        assert gateway.log_lines(1) == ["127.0.0.2 403"]


def test_a_refused_client_that_has_sent_something(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    gateway.start()
    with connect(gateway.port("front"), source="127.0.0.2") as client:
        client.sendall(b"x" * 1000)
        is_reset(client)
    assert gateway.log_lines(1) == ["127.0.0.2 403"]
