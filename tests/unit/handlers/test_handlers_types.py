"""A call that a phase may not make is refused by the type checker, and at run time."""

from __future__ import annotations

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
from qanat.handlers import *

async def access(session: AccessSession) -> None:
    {access}

async def preread(session: PrereadSession) -> None:
    {preread}

def client_hello(session: ClientHelloSession) -> None:
    {client_hello}

async def certificate(session: CertificateSession) -> Certificate | None:
    {certificate}
    return None

def verify(session: VerifySession) -> bool | None:
    {verify}
    return None

def balance(session: BalanceSession) -> Peer | None:
    {balance}
    return None

async def content(session: ContentSession) -> None:
    {content}

def log(record: LogRecord) -> None:
    {log}

async def datagrams(session: DatagramSession) -> None:
    {datagrams}
"""
RIGHT = {
    "access": 'session.reject(403, b"no")',
    "preread": "await session.peek(4); await session.read_until(b'x'); session.vars['a'] = 'b'",
    "client_hello": "session.limit_versions(minimum='TLSv1.3'); session.reject(403)",
    "certificate": "return Certificate.load('a.pem', b'key', password='secret')",
    "verify": "session.reject(f'{session.peer}: {session.result}, {session.chain[0]!r}')",
    "balance": "session.more_tries(session.tries); session.last_failure",
    "content": "async for line in session.reader: session.writer.write(line.upper())",
    "log": "record.status + record.bytes_sent; record.ctx.anything",
    "datagrams": "async for datagram in session.datagrams(): session.send(datagram[1:])",
}


def check(folder: Path, **lines: str) -> str:
    path = folder / "user.py"
    path.write_text(HEAD.format(**{**RIGHT, **lines}))
    output, errors, _ = api.run(["--strict", "--config-file=", str(path)])
    return output + errors


def test_right_calls_are_accepted(tmp_path: Path) -> None:
    assert "Success" in check(tmp_path)


def test_wrong_calls_are_refused(tmp_path: Path) -> None:
    output = check(
        tmp_path,
        access="await session.peek(1)",
        preread="session.more_tries(1); await session.reader.readline()",
        client_hello="session.reject(403, alert='nonsense')",
        certificate="session.limit_versions(maximum='TLSv1.2')",
        verify="session.tries = 1",
        balance="session.write(b'x')",
        content="session.datagrams()",
        log="record.reject(500)",
        datagrams="await session.read_exactly(1)",
    )
    calls = ("peek", "more_tries", "reader", "write", "datagrams", "reject", "read_exactly")
    for missing in (*calls, "limit_versions"):
        assert f'has no attribute "{missing}"' in output
    assert 'Argument "alert" to "reject"' in output
    assert 'Property "tries" defined in "VerifySession" is read-only' in output


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
