"""TLS handlers: what a client offers, who is refused by which alert, and certificates that are
chosen while the client waits."""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import LOCALHOST, ask, connect, connect_tls, talk_tls, tls_context
from tests.harness.handlers import write_module
from tests.harness.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.certificates import Authority
    from tests.harness.clients import Talk
    from tests.harness.gateway import Gateway

CLIENTS = 200
MODULE = f"""
import asyncio
from pathlib import Path

from qanat import AccessSession, Certificate, CertificateSession, ClientHelloSession, LogRecord

CONF = Path(__file__).parent.parent / "conf"


def load(name: str) -> Certificate:
    return Certificate.load(CONF / f"{{name}}.pem", CONF / f"{{name}}.key")


NAMED = {{name: load(name) for name in ("one.test", "two.test")}}
waiting = 0
everybody = asyncio.Event()


def arrive(session: AccessSession) -> None:
    session.ctx.seen = "arrived"


def see(session: ClientHelloSession) -> None:
    session.ctx.seen += f" {{session.server_name}} {{session.alpn}} {{','.join(session.versions)}}"
    session.ctx.seen += f" {{session.cipher_suites[0]}} {{session.extensions.count(43)}}"
    session.ctx.seen += f" {{(session.extension(16) or b'').hex()}} {{session.extension(9999)}}"
    session.ctx.seen += f" {{session.ja4}} {{session.vars.get('ssl_server_name', '-')}}"


def note(record: LogRecord) -> None:
    record.vars["seen"] = getattr(record.ctx, "seen", "-")


def limit(session: ClientHelloSession) -> None:
    if session.server_name == "modern.test":
        session.limit_versions(minimum="TLSv1.3")
    elif session.server_name == "old.test":
        session.limit_versions(maximum="TLSv1.2")
    elif session.server_name == "neither.test":
        session.limit_versions(minimum="TLSv1.3")
        session.limit_versions(maximum="TLSv1.2")


def refuse(session: ClientHelloSession) -> None:
    session.reject(403, alert=session.server_name.partition(".")[0])


def choose(session: CertificateSession) -> Certificate | None:
    session.ctx.seen = getattr(session.ctx, "seen", "") + "C"
    return NAMED.get(session.server_name)


async def look_up(session: CertificateSession) -> Certificate | None:
    await asyncio.to_thread(str)
    return NAMED.get(session.server_name)


def greet(session: ClientHelloSession) -> None:
    session.ctx.seen = "H"


def fail(session: ClientHelloSession) -> None:
    session.ctx.seen = "before"
    raise RuntimeError("no luck")


async def wait(session: ClientHelloSession) -> None:
    await asyncio.Event().wait()


def mistake(session: CertificateSession) -> str:
    return "one.test"


async def slow(session: CertificateSession) -> Certificate:
    global waiting
    waiting += 1
    if waiting == {CLIENTS}:
        everybody.set()
    await everybody.wait()
    return NAMED["two.test"]
"""

OWN = "ssl_certificate one.test.pem; ssl_certificate_key one.test.key;"
DEFAULT = "ssl_certificate default.test.pem; ssl_certificate_key default.test.key;"
CHOOSING = """
    ssl_client_hello_by_python app:greet;
    ssl_certificate_by_python app:choose;
"""
BLOCKS = """
    server_name two.test;
    ssl_certificate_by_python_block {
        import app
        return app.NAMED["two.test"]
    }
    ssl_client_hello_by_python_block { session.ctx.seen = "block" }
"""


def server(front: str, answer: str, *directives: str) -> str:
    """Write a server at one of the listeners, and what its clients get."""
    lines = "\n".join(directives)
    return f'server {{ listen 127.0.0.1:@{front} ssl;\n{lines}\nset $seen ""; return {answer}; }}\n'


HELLO = "ssl_client_hello_by_python"
CHOICE = "ssl_certificate_by_python"
SERVERS = (
    server("hello", "hello", "access_by_python app:arrive;", f"{HELLO} app:see;", OWN),
    server("limit", "$ssl_protocol", f"{HELLO} app:limit;", OWN),
    server("refuse", "never", f"{HELLO} app:refuse;", OWN),
    server("chosen", "chosen", CHOOSING, DEFAULT),
    server("stateful", "chosen", CHOOSING, DEFAULT, "ssl_session_tickets off;"),
    server("bare", "bare", f"{CHOICE} app:look_up;"),
    server("fail", "never", f"{HELLO} app:fail;", OWN),
    server("late", "never", f"{HELLO} app:wait;", "python_timeout 50ms;", OWN),
    server("patient", "never", f"{HELLO} app:wait;", OWN),
    server("mistake", "never", f"{CHOICE} app:mistake;"),
    server("slow", "slow", f"{CHOICE} app:slow;", "python_timeout 30s;"),
    server("names", "plain", "server_name one.test;", OWN),
    server("names", "handled", BLOCKS),
    server(
        "names",
        "never",
        "server_name three.test;",
        "ssl_reject_handshake on;",
        f"{HELLO} app:fail;",
    ),
)
CONFIG = f"""
stream {{
    python_path ../py;
    log_format ends '$status $ssl_protocol [$seen]';
    access_log logs/access.log ends;
    log_by_python app:note;
    ssl_session_cache shared:tls:1m;
    {"".join(SERVERS)}
}}
"""


@pytest.fixture
def running(gateway: Gateway, authority: Authority) -> Iterator[Gateway]:
    for name in ("default.test", "one.test"):
        authority.issue(name)
    authority.issue("two.test", rsa=True)
    write_module(gateway, "app", MODULE)
    gateway.write(CONFIG)
    yield gateway.start()


def talk(
    gateway: Gateway,
    front: str,
    name: str | None,
    context: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
) -> Talk:
    """Connect over TLS to one of the listeners, and read to the end."""
    return talk_tls(gateway.port(front), name, context, session)


def refusal(gateway: Gateway, front: str, name: str) -> str | None:
    """Return what the alert says that a client gets."""
    with pytest.raises(ssl.SSLError) as caught:
        connect_tls(gateway.port(front), name)
    return caught.value.reason


def test_what_a_client_offers(running: Gateway) -> None:
    context = tls_context(alpn=["h2", "stream"])
    assert talk(running, "hello", "Any.Test", context=context).answer == b"hello"
    seen = running.log_lines(1)[0]
    assert seen.startswith("200 TLSv1.3 [arrived any.test (b'h2', b'stream') TLSv1.3,TLSv1.2 ")
    assert "TLS_AES_256_GCM_SHA384 1 000a02683206" + b"stream".hex() + " None" in seen
    assert re.search(r" t13d\d{4}h2_[0-9a-f]{12}_[0-9a-f]{12} any\.test]$", seen)


def test_a_client_without_name_and_protocols(running: Gateway) -> None:
    assert talk(running, "hello", None)[1] == b"hello"
    seen = running.log_lines(1)[0]
    assert seen.startswith("200 TLSv1.3 [arrived None () ")
    assert re.search(r" 1  None t13i\d{4}00_[0-9a-f]{12}_[0-9a-f]{12} -]$", seen)


def test_versions_are_limited(running: Gateway) -> None:
    assert talk(running, "limit", "any.test")[1] == b"TLSv1.3"
    assert talk(running, "limit", "old.test")[1] == b"TLSv1.2"
    assert talk(running, "limit", "modern.test")[1] == b"TLSv1.3"
    old = tls_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError) as caught:
        connect_tls(running.port("limit"), "modern.test", old)
    assert caught.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
    assert refusal(running, "limit", "neither.test") == "TLSV1_ALERT_PROTOCOL_VERSION"
    running.wait_for_log('TLS handshake refused: a handler has left no version .* "neither.test"')


@pytest.mark.parametrize(
    ("alert", "reason"),
    [
        ("handshake_failure", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        ("access_denied", "TLSV1_ALERT_ACCESS_DENIED"),
        ("insufficient_security", "TLSV1_ALERT_INSUFFICIENT_SECURITY"),
        ("unrecognized_name", "TLSV1_UNRECOGNIZED_NAME"),
    ],
)
def test_a_rejection_is_told_by_an_alert(running: Gateway, alert: str, reason: str) -> None:
    assert refusal(running, "refuse", f"{alert}.test") == reason
    assert running.log_lines(1) == ["403 - [-]"]
    running.wait_for_log(r"\[info\] .*rejected by a handler with status 403")


def test_an_unknown_alert_is_an_error_of_the_handler(running: Gateway) -> None:
    assert refusal(running, "refuse", "whatever.test") == "TLSV1_ALERT_INTERNAL_ERROR"
    running.wait_for_log('failed: ValueError: unknown alert "whatever"')


@pytest.mark.parametrize(
    ("name", "shown"),
    [("one.test", "one.test"), ("two.test", "two.test"), ("other.test", "default.test")],
)
def test_a_handler_chooses_the_certificate(running: Gateway, name: str, shown: str) -> None:
    assert talk(running, "chosen", name)[:2] == (shown, b"chosen")
    assert running.log_lines(1) == ["200 TLSv1.3 [HC]"]


def test_the_certificate_is_one_that_clients_verify(running: Gateway, authority: Authority) -> None:
    context = tls_context(authority.path)
    assert talk(running, "bare", "two.test", context=context).answer == b"bare"


def test_no_certificate_at_all(running: Gateway) -> None:
    assert talk(running, "bare", "one.test")[0] == "one.test"
    assert refusal(running, "bare", "other.test") == "SSLV3_ALERT_HANDSHAKE_FAILURE"
    line = running.wait_for_log('no "ssl_certificate" is configured and no handler has chosen one')
    assert "[error]" in line
    assert 'for "other.test"' in line
    assert running.log_lines(2)[1] == "500 - [-]"


def test_a_handler_that_fails(running: Gateway) -> None:
    assert refusal(running, "fail", "one.test") == "TLSV1_ALERT_INTERNAL_ERROR"
    assert running.log_lines(1) == ["500 - [before]"]
    line = running.wait_for_log("ssl_client_hello handler app:fail failed: RuntimeError: no luck")
    assert "while running client hello handlers" in line
    assert running.error_log().count("[error]") == 1


def test_a_handler_that_is_late(running: Gateway) -> None:
    assert refusal(running, "late", "one.test") == "TLSV1_ALERT_INTERNAL_ERROR"
    assert running.log_lines(1) == ["500 - [-]"]
    running.wait_for_log("ssl_client_hello handler app:wait did not end in time, waiting at")


def test_what_is_no_certificate_is_refused(running: Gateway) -> None:
    assert refusal(running, "mistake", "one.test") == "TLSV1_ALERT_INTERNAL_ERROR"
    running.wait_for_log("ssl_certificate handler app:mistake returned str instead of a certif")


def test_a_client_that_leaves(running: Gateway) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = tls_context().wrap_bio(incoming, outgoing, server_hostname="one.test")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    with connect(running.port("patient")) as client:
        client.sendall(outgoing.read())
    assert running.log_lines(1) == ["499 - [-]"]
    assert "[error]" not in running.error_log()


def test_what_is_not_tls_reaches_no_handler(running: Gateway) -> None:
    assert ask(running.port("fail"), b"GET / HTTP/1.0\r\n\r\n")[:1] in (b"", b"\x15")
    assert running.log_lines(1) == ["500 - [-]"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_for_the_same_name_only(running: Gateway, version: ssl.TLSVersion) -> None:
    context = tls_context()
    context.minimum_version = context.maximum_version = version
    first = talk(running, "chosen", "one.test", context)
    again = talk(running, "chosen", "one.test", context, first.session)
    assert (first.is_resumed, again.is_resumed) == (False, True)
    assert [line[-4:] for line in running.log_lines(2)] == ["[HC]", " [H]"], "chosen once"
    other = talk(running, "chosen", "two.test", context, first.session)
    assert (other.shown, other.is_resumed) == ("two.test", False)
    assert running.log_lines(3)[2].endswith("[HC]")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("front", ["chosen", "stateful"])
def test_what_a_handler_left_to_the_configuration_resumes(
    running: Gateway, version: ssl.TLSVersion, front: str
) -> None:
    context = tls_context()
    context.minimum_version = context.maximum_version = version
    first = talk(running, front, "other.test", context)
    again = talk(running, front, "other.test", context, first.session)
    assert (first.is_resumed, again.is_resumed) == (False, True)
    assert (first.shown, again.shown) == ("default.test", "default.test")
    assert [line[-4:] for line in running.log_lines(2)] == ["[HC]", " [H]"]


def test_many_clients_wait_for_a_slow_handler(running: Gateway) -> None:
    context = tls_context()

    async def one() -> bytes:
        async with asyncio.timeout(2 * PATIENCE):
            reader, writer = await asyncio.open_connection(
                LOCALHOST, running.port("slow"), ssl=context, server_hostname="two.test"
            )
            answer = await reader.read()
            writer.close()
            return answer

    async def all_at_once() -> list[bytes]:
        return await asyncio.gather(*(one() for _ in range(CLIENTS)))

    assert asyncio.run(all_at_once()) == [b"slow"] * CLIENTS


def test_the_handlers_are_those_of_the_server_that_the_name_selects(running: Gateway) -> None:
    assert talk(running, "names", "one.test")[:2] == ("one.test", b"plain")
    assert talk(running, "names", "two.test")[:2] == ("two.test", b"handled")
    assert talk(running, "names", None)[1] == b"plain"
    assert refusal(running, "names", "three.test") == "TLSV1_UNRECOGNIZED_NAME"
    assert sorted(running.log_lines(4)) == [
        "200 TLSv1.3 [-]",
        "200 TLSv1.3 [-]",
        "200 TLSv1.3 [block]",
        "500 - [-]",
    ]
