"""`session.tls`: what the handshake with a client has agreed on, for the handlers after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, ask_tls, connect, read_all, talk_tls, tls_context
from tests.harness.handlers import write_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.certificates import Authority
    from tests.harness.gateway import Gateway

MODULE = """
from qanat import BalanceSession, ContentSession, LogRecord, PrereadSession, TlsFacts


def show(tls: TlsFacts | None) -> str:
    if tls is None:
        return "plain"
    parts = (tls.version, tls.cipher_suite, tls.curve, tls.server_name, tls.alpn, tls.is_resumed)
    return " ".join(str(part) for part in parts)


def preread(session: PrereadSession) -> None:
    session.ctx.seen = [show(session.tls)]


def balance(session: BalanceSession) -> None:
    session.ctx.seen.append(show(session.tls))


def content(session: ContentSession) -> None:
    session.writer.write(show(session.tls).encode())


async def upgrade(session: ContentSession) -> None:
    session.ctx.seen = [show(session.tls)]
    await session.start_tls()
    session.writer.write(show(session.tls).encode())


def log(record: LogRecord) -> None:
    seen = [*getattr(record.ctx, "seen", []), show(record.tls)]
    record.vars["seen"] = "|".join(seen)
"""

CONFIG = """
stream {
    python_path ../py;
    log_format ends '[$seen]';
    access_log logs/access.log ends;
    log_by_python app:log;
    ssl_session_cache shared:tls:1m;
    ssl_certificate one.test.pem; ssl_certificate_key one.test.key;
    ssl_alpn stream;
    upstream peers { server 127.0.0.1:@peer; balance_by_python app:balance; }
    server { listen 127.0.0.1:@peer; set $seen ""; access_log off; return ok; }
    server {
        listen 127.0.0.1:@relayed ssl;
        preread_by_python app:preread; set $seen ""; proxy_pass peers;
    }
    server {
        listen 127.0.0.1:@plain;
        ssl_preread on; preread_by_python app:preread; set $seen ""; proxy_pass peers;
    }
    server { listen 127.0.0.1:@content ssl; set $seen ""; content_by_python app:content; }
    server { listen 127.0.0.1:@upgrade; set $seen ""; content_by_python app:upgrade; }
}
"""
AGREED = "TLSv1.3 TLS_AES_256_GCM_SHA384"


@pytest.fixture
def running(gateway: Gateway, authority: Authority) -> Iterator[Gateway]:
    authority.issue("one.test")
    write_module(gateway, "app", MODULE)
    gateway.write(CONFIG)
    yield gateway.start()


def test_every_phase_after_the_handshake_sees_it(running: Gateway) -> None:
    assert ask_tls(running.port("relayed"), "One.Test", tls_context(alpn=["stream"])) == b"ok"
    phases = running.log_lines(1)[0].strip("[]").split("|")
    assert len(phases) == 3, "preread, balance, log"
    assert len(set(phases)) == 1
    assert phases[0].startswith(f"{AGREED} ")
    assert phases[0].endswith(" one.test b'stream' False")


def test_content_sees_a_session_that_is_resumed(running: Gateway) -> None:
    context = tls_context()
    first = talk_tls(running.port("content"), "one.test", context)
    again = talk_tls(running.port("content"), "one.test", context, first.session)
    assert first.answer.decode().startswith(f"{AGREED} ")
    assert first.answer.endswith(b" one.test None False")
    assert again.answer.endswith(b" one.test None True")


def test_a_client_that_asks_for_nothing(running: Gateway) -> None:
    assert ask_tls(running.port("content")).endswith(b" None None False")


def test_there_is_nothing_without_tls(running: Gateway) -> None:
    assert ask(running.port("plain"), b"in the clear\n") == b"ok"
    assert running.log_lines(1) == ["[plain|plain|plain]"]


def test_a_handshake_that_fails_leaves_nothing(running: Gateway) -> None:
    ask(running.port("content"), b"GET / HTTP/1.0\r\n\r\n")
    assert running.log_lines(1) == ["[plain]"]


def test_starttls_makes_it_known(running: Gateway) -> None:
    with (
        connect(running.port("upgrade")) as plain,
        tls_context().wrap_socket(plain, server_hostname="one.test") as client,
    ):
        assert read_all(client).decode().startswith(f"{AGREED} ")
    before, after = running.log_lines(1)[0].strip("[]").split("|")
    assert before == "plain"
    assert after.startswith(AGREED)
