"""Verify handlers: the certificates of a peer are judged before it gets a byte of the client."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from typing import TYPE_CHECKING

import pytest
from tests.harness.certificates import Authority, server_context
from tests.harness.clients import ask, connect, is_reset
from tests.harness.handlers import write_module
from tests.harness.servers import serve_tls

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway

MODULE = """
import asyncio
from hashlib import sha256

from qanat.handlers import LogRecord, VerifySession

PINNED = "@pinned"


def note(session: VerifySession, verdict: object) -> None:
    session.ctx.seen = getattr(session.ctx, "seen", [])
    length = len(session.chain)
    session.ctx.seen.append(f"{session.tries} {session.name} {length} {session.result} {verdict}")


def log(record: LogRecord) -> None:
    record.vars["seen"] = "; ".join(getattr(record.ctx, "seen", []))


def look(session: VerifySession) -> None:
    assert session.peer == session.vars["upstream_addr"].split(", ")[-1]
    note(session, "look")


async def pin(session: VerifySession) -> bool:
    await asyncio.to_thread(str)
    is_pinned = sha256(session.chain[0]).hexdigest() == PINNED
    note(session, is_pinned)
    return is_pinned


def fail(session: VerifySession) -> None:
    if session.tries == 0:
        raise RuntimeError("no luck")


async def late(session: VerifySession) -> None:
    if session.tries == 0:
        await asyncio.Event().wait()


def refuse(session: VerifySession) -> None:
    session.reject("not on a Saturday")


def early(session: VerifySession) -> bool:
    return False
"""

CONFIG = """
stream {
    python_path ../py;
    log_format ends '$status [$seen]';
    access_log logs/access.log ends;
    log_by_python app:log;
    proxy_ssl on;
    proxy_ssl_name peer.test;
    upstream both { server 127.0.0.1:@stranger; server 127.0.0.1:@peer; }
    server {
        listen 127.0.0.1:@off; proxy_ssl_verify_by_python app:look;
        set $seen ""; proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@trusting; proxy_ssl_verify_by_python app:look;
        proxy_ssl_trusted_certificate authority.pem; proxy_ssl_name other.test;
        set $seen ""; proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@verified; proxy_ssl_verify_by_python app:look;
        proxy_ssl_verify on; proxy_ssl_trusted_certificate authority.pem;
        set $seen ""; proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@strange; proxy_ssl_verify_by_python app:look;
        proxy_ssl_verify on; proxy_ssl_trusted_certificate authority.pem;
        set $seen ""; proxy_pass 127.0.0.1:@stranger;
    }
    server {
        listen 127.0.0.1:@pinned; proxy_ssl_verify_by_python app:pin;
        proxy_ssl_verify on; proxy_ssl_trusted_certificate authority.pem;
        set $seen ""; proxy_pass 127.0.0.1:@stranger;
    }
    server {
        listen 127.0.0.1:@next; proxy_ssl_verify_by_python app:look;
        proxy_ssl_verify on; proxy_ssl_trusted_certificate authority.pem;
        set $seen ""; proxy_pass both;
    }
    server {
        listen 127.0.0.1:@failing; proxy_ssl_verify_by_python app:fail;
        set $seen ""; proxy_pass both;
    }
    server {
        listen 127.0.0.1:@late; proxy_ssl_verify_by_python app:late; python_timeout 50ms;
        set $seen ""; proxy_pass both;
    }
    server {
        listen 127.0.0.1:@refused; proxy_ssl_verify_by_python app:refuse;
        set $seen ""; proxy_pass 127.0.0.1:@peer;
    }
    server {
        listen 127.0.0.1:@last_word;
        proxy_ssl_verify_by_python app:early;
        proxy_ssl_verify_by_python_block { return True }
        set $seen ""; proxy_pass 127.0.0.1:@peer;
    }
}
"""


@pytest.fixture
def received() -> list[bytes]:
    """Give what the peers have got, one entry a connection."""
    return []


@pytest.fixture
def running(gateway: Gateway, authority: Authority, received: list[bytes]) -> Iterator[Gateway]:
    stranger = Authority(authority.directory / "stranger").issue("peer.test")
    pem = stranger.certificate.read_text().partition("-----END CERTIFICATE-----")
    der = ssl.PEM_cert_to_DER_cert(pem[0] + pem[1] + "\n")
    write_module(gateway, "app", MODULE.replace("@pinned", hashlib.sha256(der).hexdigest()))

    def tell(connection: socket.socket) -> None:
        try:
            received.append(connection.recv(100))
        except OSError:
            received.append(b"")
            raise
        connection.sendall(b"resumed" if _is_resumed(connection) else b"anew")

    with contextlib.ExitStack() as stack:
        ours = server_context(authority.issue("peer.test"))
        peer = stack.enter_context(serve_tls(tell, ours))
        strange = stack.enter_context(serve_tls(tell, server_context(stranger)))
        gateway.write(CONFIG, peer=peer, stranger=strange)
        yield gateway.start()


def _is_resumed(connection: socket.socket) -> bool:
    tls: ssl.SSLSocket = connection  # type: ignore[assignment]
    return bool(tls.session_reused)


def end_unanswered(gateway: Gateway, front: str) -> None:
    """Ask, and see the session end: what was sent is lost, so the end may be a reset."""
    with connect(gateway.port(front)) as client:
        client.sendall(b"?")
        is_reset(client)


def test_a_certificate_that_holds(running: Gateway) -> None:
    assert ask(running.port("verified"), b"?") == b"anew"
    assert running.log_lines(1) == ["200 [0 peer.test 1 None look]"]


def test_what_speaks_against_a_certificate_is_told_also_if_nobody_asks(running: Gateway) -> None:
    assert ask(running.port("off"), b"?") == b"anew"
    assert ask(running.port("trusting"), b"?") == b"anew"
    nothing = "verify error: (no \\x22proxy_ssl_trusted_certificate\\x22 to verify with)"
    assert running.log_lines(2) == [
        f"200 [0 peer.test 1 {nothing} look]",
        "200 [0 other.test 1 does not match \\x22other.test\\x22 look]",
    ]


def test_a_handler_that_says_nothing_leaves_it_to_the_configuration(
    running: Gateway, received: list[bytes]
) -> None:
    end_unanswered(running, "strange")
    unknown = "verify error: (20:unable to get local issuer certificate)"
    assert running.log_lines(1) == [f"502 [0 peer.test 1 {unknown} look]"]
    line = running.wait_for_log("upstream SSL certificate verify error: .20:")
    assert "while SSL handshaking to upstream" in line
    assert b"?" not in received


def test_a_handler_accepts_what_the_configuration_would_refuse(running: Gateway) -> None:
    assert ask(running.port("pinned"), b"?") == b"anew"
    assert running.log_lines(1)[0].endswith("issuer certificate) True]")


def test_a_session_that_is_resumed_is_judged_again(running: Gateway) -> None:
    answers = {ask(running.port("pinned"), b"?") for _ in range(3)}
    assert answers == {b"anew", b"resumed"}
    assert all(line.endswith("issuer certificate) True]") for line in running.log_lines(3))


def test_a_peer_that_is_refused_counts_as_one_that_failed(running: Gateway) -> None:
    assert ask(running.port("next"), b"?") == b"anew"
    line = running.log_lines(1)[0]
    assert line.startswith("200 [0 peer.test 1 verify error: ")
    assert line.endswith("look; 1 peer.test 1 None look]")


def test_a_handler_that_fails_refuses(running: Gateway) -> None:
    assert ask(running.port("failing"), b"?") == b"anew"
    running.wait_for_log("proxy_ssl_verify handler app:fail failed: RuntimeError: no luck")
    assert running.log_lines(1) == ["200 []"]
    assert running.error_log().count("[error]") == 1


def test_a_handler_that_is_late_refuses(running: Gateway) -> None:
    assert ask(running.port("late"), b"?") == b"anew"
    running.wait_for_log("proxy_ssl_verify handler app:late did not end in time")


def test_a_refusal_has_a_reason(running: Gateway, received: list[bytes]) -> None:
    end_unanswered(running, "refused")
    running.wait_for_log("upstream SSL certificate refused by a handler: not on a Saturday")
    assert running.log_lines(1) == ["502 []"]
    assert b"?" not in received


def test_the_last_handler_that_says_something_decides(running: Gateway) -> None:
    assert ask(running.port("last_word"), b"?") == b"anew"
