"""Content handlers under TLS: from the first byte, or from where the handler says (STARTTLS)."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import connect, connect_tls, read_all, read_exactly, tls_context
from tests.harness.handlers import write_module

if TYPE_CHECKING:
    import socket

    from tests.harness.certificates import Authority
    from tests.harness.gateway import Gateway

MODULE = r"""
from qanat.handlers import HandshakeError, PhaseError


async def echo(session):
    async for line in session.reader:
        session.writer.write(line)
        await session.writer.drain()


async def commands(session):
    session.writer.write(b"220 hello\n")
    async for line in session.reader:
        if line != b"STARTTLS\n":
            session.writer.write(b"250 " + session.vars.get("ssl_protocol").encode() + b" " + line)
            continue
        session.writer.write(b"220 go ahead\n")
        try:
            await session.start_tls()
        except PhaseError as error:
            session.writer.write(f"454 {error}\n".encode())
        except HandshakeError as error:
            session.vars["note"] = f"{error}"
            return


async def careless(session):
    await session.reader.readline()
    await session.start_tls()
"""

CONFIG = """
stream {
    python_path ../py;
    log_format tls '$status $ssl_protocol "$note"';
    access_log logs/access.log tls;
    ssl_certificate one.test.pem;
    ssl_certificate_key one.test.key;
    ssl_handshake_timeout 300ms;
    server { listen 127.0.0.1:@echo ssl; content_by_python app:echo; }
    server { listen 127.0.0.1:@starttls; set $note ""; content_by_python app:commands; }
    server { listen 127.0.0.1:@careless; set $note ""; content_by_python app:careless; }
}
"""


@pytest.fixture
def running(gateway: Gateway, authority: Authority) -> Gateway:
    authority.issue("one.test")
    write_module(gateway, "app", MODULE)
    gateway.write(CONFIG)
    return gateway.start()


def line_of(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += connection.recv(1)
    return line


def start_tls(gateway: Gateway, authority: Authority) -> ssl.SSLSocket:
    """Say STARTTLS, and shake hands."""
    plain = connect(gateway.port("starttls"))
    assert line_of(plain) == b"220 hello\n"
    plain.sendall(b"STARTTLS\n")
    assert line_of(plain) == b"220 go ahead\n"
    return tls_context(authority.path).wrap_socket(plain, server_hostname="one.test")


def test_under_tls_content_is_the_same(running: Gateway, authority: Authority) -> None:
    with connect_tls(running.port("echo"), "one.test", tls_context(authority.path)) as client:
        text = b"x" * 50_000 + b"\n"
        for _ in range(4):
            client.sendall(text)
            assert read_exactly(client, len(text)) == text
        client.unwrap().close()
    assert running.log_lines(1)[0].startswith("200 TLSv1.3")


def test_tls_begins_where_the_handler_says(running: Gateway, authority: Authority) -> None:
    with start_tls(running, authority) as client:
        client.sendall(b"secret\n")
        assert line_of(client) == b"250 TLSv1.3 secret\n"
        client.sendall(b"STARTTLS\n")
        assert line_of(client) == b"220 go ahead\n"
        assert line_of(client) == b"454 TLS is spoken already\n"
        client.unwrap().close()
    assert running.log_lines(1) == ['200 TLSv1.3 ""']


def test_before_it_nothing_is_hidden(running: Gateway) -> None:
    with connect(running.port("starttls")) as client:
        assert line_of(client) == b"220 hello\n"
        client.sendall(b"plain\n")
        assert line_of(client) == b"250  plain\n"


def test_a_hello_that_does_not_wait_is_not_lost(running: Gateway, authority: Authority) -> None:
    """A client may send its hello behind the command, in one piece."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = tls_context(authority.path)
    tls = context.wrap_bio(incoming, outgoing, server_hostname="one.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    with connect(running.port("starttls")) as client:
        assert line_of(client) == b"220 hello\n"
        client.sendall(b"STARTTLS\n" + outgoing.read())
        assert line_of(client) == b"220 go ahead\n"
        while True:
            incoming.write(client.recv(65536))
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        tls.write(b"secret\n")
        client.sendall(outgoing.read())
        answer = b""
        while not answer:
            incoming.write(client.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                answer = tls.read(100)
        assert answer == b"250 TLSv1.3 secret\n"


def test_what_is_said_in_the_clear_does_not_pass_for_secret(running: Gateway) -> None:
    """The injection of CVE-2011-0411: a command behind STARTTLS is no command under TLS."""
    with connect(running.port("starttls")) as client:
        assert line_of(client) == b"220 hello\n"
        client.sendall(b"STARTTLS\nRSET\n")
        assert line_of(client) == b"220 go ahead\n"
        assert b"250" not in read_all(client)
    [line] = running.log_lines(1)
    assert "TLS handshake failed" in line


def test_a_client_that_does_not_shake_hands(running: Gateway) -> None:
    with connect(running.port("starttls")) as client:
        client.sendall(b"STARTTLS\n")
        assert line_of(client) == b"220 hello\n"
        assert line_of(client) == b"220 go ahead\n"
        assert read_all(client) == b""
    assert "client timed out" in running.log_lines(1)[0]
    with connect(running.port("careless")) as client:
        client.sendall(b"now\nno hello")
        read_all(client)
    assert running.log_lines(2)[1].startswith("500 ")
    assert "Traceback" not in running.error_log()


def test_without_a_certificate_there_is_no_tls(gateway: Gateway) -> None:
    write_module(gateway, "app", MODULE)
    gateway.write(
        "stream { python_path ../py; server { listen 127.0.0.1:@starttls; "
        "content_by_python app:commands; } }"
    )
    gateway.start()
    with connect(gateway.port("starttls")) as client:
        client.sendall(b"STARTTLS\nplain\n")
        expected = (
            b"220 hello\n220 go ahead\n454 start_tls wants an ssl_certificate in the server\n"
        )
        assert read_exactly(client, len(expected)) == expected
        assert line_of(client) == b"250  plain\n"
