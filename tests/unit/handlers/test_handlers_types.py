"""A call that a phase may not make is refused by the type checker, and at run time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from mypy import api

from qanat.handlers import (
    AccessSession,
    BalanceSession,
    CertificateSession,
    ClientHelloSession,
    DatagramSession,
    LogRecord,
    PhaseError,
    PrereadSession,
    VerifySession,
)

if TYPE_CHECKING:
    from pathlib import Path

    from qanat.handlers.sessions import Phase

HEAD = """
from qanat import *

gateway = Gateway()
server = gateway.listen("127.0.0.1:0")
upstream = gateway.upstream("peers", "127.0.0.1:1")
"""
HANDLERS = {
    "access": "async def {}(session: AccessSession) -> None:",
    "ssl_client_hello": "def {}(session: ClientHelloSession) -> None:",
    "ssl_certificate": "async def {}(session: CertificateSession) -> Certificate | None:",
    "preread": "async def {}(session: PrereadSession) -> None:",
    "balance": "def {}(session: BalanceSession) -> Peer | None:",
    "proxy_ssl_verify": "def {}(session: VerifySession) -> bool | None:",
    "content": "async def {}(session: ContentSession) -> None:",
    "datagrams": "async def {}(session: DatagramSession) -> None:",
    "log": "def {}(record: LogRecord) -> None:",
}
RIGHT = {
    "access": "session.reject(403, b'no')",
    "ssl_client_hello": "session.limit_versions(minimum='TLSv1.3'); session.reject(403)",
    "ssl_certificate": "return Certificate.load('a.pem', b'key', password='secret')",
    "preread": "await session.peek(4); await session.read_until(b'x'); session.vars['a'] = 'b'",
    "balance": "session.more_tries(session.tries); return Peer(session.last_failure.peer) "
    "if session.last_failure else None",
    "proxy_ssl_verify": "return session.result is None and session.chain[0] != b''",
    "content": "async for line in session.reader: session.writer.write(line.upper())",
    "datagrams": "async for datagram in session.datagrams(): session.send(datagram[1:])",
    "log": "record.status + record.bytes_sent; record.ctx.anything; record.tls",
}
WRONG = (
    ("access", "await session.peek(1)", 'no attribute "peek"'),
    ("access", "session.tls", 'no attribute "tls"'),
    ("access", "session.reject('403')", 'Argument 1 to "reject"'),
    ("ssl_client_hello", "session.reject(403, alert='nonsense')", 'Argument "alert" to "reject"'),
    ("ssl_client_hello", "session.write(b'hello')", 'no attribute "write"'),
    ("ssl_certificate", "session.limit_versions()", 'no attribute "limit_versions"'),
    ("ssl_certificate", "return 'one.pem'", "Incompatible return value"),
    ("preread", "session.more_tries(1)", 'no attribute "more_tries"'),
    ("preread", "session.reader", 'no attribute "reader"'),
    ("preread", "session.peek(4)[:2]", "not indexable"),
    ("balance", "session.write(b'x')", 'no attribute "write"'),
    ("balance", "session.reject(502, b'bye')", 'Too many arguments for "reject"'),
    ("balance", "return 80", "Incompatible return value"),
    ("proxy_ssl_verify", "session.tries = 1", "read-only"),
    ("proxy_ssl_verify", "return 'yes'", "Incompatible return value"),
    ("content", "session.datagrams()", 'no attribute "datagrams"'),
    ("content", "session.writer.write('text')", 'Argument 1 to "write"'),
    ("datagrams", "await session.read_exactly(1)", 'no attribute "read_exactly"'),
    ("datagrams", "session.reader", 'no attribute "reader"'),
    ("log", "record.reject(500)", 'no attribute "reject"'),
    ("log", "record.status = 200", "read-only"),
)
"""What handlers of a phase may not do, and what the type checker says of it."""


def handler(phase: str, name: str, call: str) -> str:
    """Write a handler, on three lines."""
    head = HANDLERS[phase].format(name)
    last = "pass" if head.endswith("-> None:") else "return None"
    return f"{head}\n    {call}\n    {last}\n"


def declare(phase: str, name: str) -> str:
    return f"{'upstream' if phase == 'balance' else 'server'}.{phase}({name})\n"


def check(folder: Path, lines: str) -> dict[int, str]:
    """Run mypy over a module; return what it says, by the number of the line after `HEAD`."""
    path = folder / "user.py"
    path.write_text(HEAD + lines)
    output, errors, _ = api.run(["--strict", "--config-file=", str(path)])
    assert not errors
    told = re.findall(r"^[^:]*:(\d+): (.*)$", output, re.MULTILINE)
    said: dict[int, str] = {}
    for number, message in told:
        line = int(number) - HEAD.count("\n") - 1
        said[line] = f"{said.get(line, '')}{message}\n"
    return said


def test_right_calls_are_accepted(tmp_path: Path) -> None:
    text = "".join(handler(phase, phase, call) for phase, call in RIGHT.items())
    assert check(tmp_path, text + "".join(declare(phase, phase) for phase in RIGHT)) == {}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What mypy says of all wrong calls: the one of case N is on line 3 N + 1."""
    cases = (handler(phase, f"wrong_{n}", call) for n, (phase, call, _) in enumerate(WRONG))
    return check(tmp_path_factory.mktemp("calls"), "".join(cases))


@pytest.mark.parametrize(
    "case", range(len(WRONG)), ids=lambda case: f"{WRONG[case][0]}: {WRONG[case][1]}"
)
def test_a_wrong_call_is_refused(refused: dict[int, str], case: int) -> None:
    assert WRONG[case][2] in refused.get(3 * case + 1, "nothing")


def test_every_phase_refuses_something() -> None:
    assert {phase for phase, _, _ in WRONG} == set(HANDLERS)


def test_a_handler_of_another_phase_is_refused(tmp_path: Path) -> None:
    handlers = "".join(handler(phase, phase, RIGHT[phase]) for phase in HANDLERS)
    others = [*list(HANDLERS)[1:], "access"]
    crossed = "".join(declare(phase, other) for phase, other in zip(HANDLERS, others, strict=True))
    said = check(tmp_path, handlers + crossed)
    assert [line - handlers.count("\n") for line in said] == list(range(len(HANDLERS)))


class Handle:
    """The handle of a session, as far as a wrong call sees it."""

    phase = "some"
    datagrams = object()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (AccessSession, "peek"),
        (PrereadSession, "more_tries"),
        (PrereadSession, "reader"),
        (BalanceSession, "read"),
        (ClientHelloSession, "peek"),
        (CertificateSession, "limit_versions"),
        (VerifySession, "alpn"),
        (LogRecord, "reject"),
        (DatagramSession, "peek"),
    ],
)
def test_forced_calls_are_refused(kind: type[Phase], name: str) -> None:
    session = kind(Handle())  # type: ignore[arg-type]
    with pytest.raises(PhaseError, match=f'"{name}" cannot be used in the some phase'):
        getattr(session, name)
    with pytest.raises(AttributeError):
        session.nonsense  # type: ignore[attr-defined]  # noqa: B018
