"""`access_log` and `log_format`: one line per session, escapes, conditions, levels, reopening."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, ask_tls, connect, is_reset
from tests.harness.servers import serve, tagged
from tests.harness.waiting import until

if TYPE_CHECKING:
    from tests.harness.certificates import Authority
    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    log_format basic '$remote_addr [$time_local] $protocol $status '
                     '$bytes_sent $bytes_received $session_time "$upstream_addr"';
    log_format name '$ssl_server_name|$ssl_preread_server_name|$server_port';
    log_format json escape=json '{"name":"$ssl_server_name","peer":"$upstream_addr"}';
    map $remote_addr $is_logged {
        127.0.0.2 0;
        127.0.0.3 "";
        default   1;
    }
    access_log logs/stream.log basic;
    server {
        listen 127.0.0.1:@inherits;
        proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@own ssl;
        ssl_certificate any.pem;
        ssl_certificate_key any.key;
        access_log logs/name.log name;
        access_log logs/json.log json;
        return "";
    }
    server {
        listen 127.0.0.1:@conditional;
        access_log logs/conditional.log basic if=$is_logged;
        return "";
    }
    server {
        listen 127.0.0.1:@off;
        access_log off;
        return "";
    }
}
"""


def test_a_line_per_session(gateway: Gateway, authority: Authority) -> None:
    authority.issue("any.test", stem="any")
    with serve(tagged("12345")) as peer:
        gateway.write(CONFIG, peer=peer)
        gateway.start()
        assert ask(gateway.port("inherits"), source="127.0.0.6") == b"12345"
        [line] = gateway.log_lines(1, "stream.log")
    time = r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}"
    end = rf'TCP 200 5 0 \d+\.\d{{3}} "127\.0\.0\.1:{peer}"'
    assert re.fullmatch(rf"127\.0\.0\.6 \[{time}\] {end}", line)


def test_a_server_s_logs_replace_those_of_the_stream(
    gateway: Gateway, authority: Authority
) -> None:
    authority.issue("any.test", stem="any")
    gateway.write(CONFIG, peer=9)
    gateway.start()
    ask_tls(gateway.port("own"), "any.test")
    assert gateway.log_lines(1, "name.log") == [f"any.test|-|{gateway.port('own')}"]
    [line] = gateway.log_lines(1, "json.log")
    assert json.loads(line) == {"name": "any.test", "peer": ""}
    assert gateway.log_lines(0, "stream.log") == []


def test_conditions(gateway: Gateway, authority: Authority) -> None:
    authority.issue("any.test", stem="any")
    gateway.write(CONFIG, peer=9)
    gateway.start()
    for last in (2, 3, 4):
        ask(gateway.port("conditional"), source=f"127.0.0.{last}")
    ask(gateway.port("off"))
    gateway.stop()
    [line] = gateway.log_lines(1, "conditional.log")
    assert line.startswith("127.0.0.4 ")
    assert gateway.log_lines(0, "stream.log") == []


PREREAD = """
stream {
    log_format name '$ssl_preread_alpn_protocols';
    access_log logs/access.log name;
    server { listen 127.0.0.1:@front; ssl_preread on; return ""; }
}
"""


@pytest.mark.parametrize(
    ("protocol", "logged"),
    [(b'a\n"\\b', "a\\x0A\\x22\\x5Cb"), (b"\x00\x7f", "\\x00\\x7F"), (b"\xff", "\\xFF")],
)
def test_what_a_client_writes_cannot_break_a_line(
    gateway: Gateway, protocol: bytes, logged: str
) -> None:
    gateway.write(PREREAD)
    gateway.start()
    with connect(gateway.port("front")) as client:
        client.sendall(hello_with_alpn(protocol))
        is_reset(client)
    assert gateway.log_lines(1) == [logged]


def hello_with_alpn(protocol: bytes) -> bytes:
    """Build a ClientHello that has an ALPN extension and nothing else."""

    def counted(data: bytes, size: int) -> bytes:
        return len(data).to_bytes(size, "big") + data

    alpn = b"\x00\x10" + counted(counted(counted(protocol, 1), 2), 2)
    body = b"\x03\x03" + bytes(32) + b"\x00" + counted(b"\x13\x01", 2) + b"\x01\x00"
    hello = b"\x01" + counted(body + counted(alpn, 2), 3)
    return b"\x16\x03\x01" + counted(hello, 2)


def test_logs_are_reopened(gateway: Gateway) -> None:
    with serve(tagged("x")) as peer:
        gateway.write(PLAIN, peer=peer)
        gateway.start()
        ask(gateway.port("front"))
        gateway.log_lines(1)
        log = gateway.prefix / "logs" / "access.log"
        rotated = log.rename(log.with_suffix(".1"))
        gateway.signal(signal.SIGUSR1)
        until(log.exists, "a new log")
        ask(gateway.port("front"))
        assert gateway.log_lines(1) == ["TCP 200"]
        assert rotated.read_text() == "TCP 200\n"


PLAIN = """
stream {
    log_format short '$protocol $status';
    access_log logs/access.log short;
    server { listen 127.0.0.1:@front; proxy_pass 127.0.0.1:@peer; }
}
"""
