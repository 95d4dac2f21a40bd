"""Clients over TCP, UDP and TLS. Every socket has a time limit."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import struct
from typing import TYPE_CHECKING, NamedTuple

from tests.harness.certificates import name_of
from tests.harness.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCALHOST = "127.0.0.1"


def connect(port: int, host: str = LOCALHOST, source: str | None = None) -> socket.socket:
    """Open a TCP connection, from a source address if one is given."""
    origin = None if source is None else (source, 0)
    client = socket.create_connection((host, port), timeout=PATIENCE, source_address=origin)
    try:
        is_itself = client.getsockname() == client.getpeername()
    except OSError:
        client.close()
        raise ConnectionResetError(errno.ECONNRESET, "reset at once") from None
    if is_itself:
        # Nobody listens there, but the kernel chose that very port for the client.
        client.close()
        raise ConnectionRefusedError("connected to itself")
    return client


def connect_unix(path: Path) -> socket.socket:
    """Open a connection to a unix socket."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    client.connect(str(path))
    return client


def read_all(connection: socket.socket) -> bytes:
    """Read to the end of the stream."""
    data = b""
    while block := connection.recv(65536):
        data += block
    return data


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """Read so many bytes, fewer only at the end of the stream."""
    data = b""
    while len(data) < count and (block := connection.recv(count - len(data))):
        data += block
    return data


def ask(port: int, data: bytes = b"", host: str = LOCALHOST, source: str | None = None) -> bytes:
    """Connect, send, and read to the end."""
    with connect(port, host, source) as client:
        client.sendall(data)
        return read_all(client)


def is_reset(connection: socket.socket) -> bool:
    """Read to the end: whether it is a reset."""
    try:
        read_all(connection)
    except ConnectionResetError:
        return True
    return False


def reset(connection: socket.socket) -> None:
    """Close with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextlib.contextmanager
def udp(port: int, host: str = LOCALHOST, source: str | None = None) -> Iterator[socket.socket]:
    """Open a UDP socket that is connected to a port: it sees answers from there alone."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        if source is not None:
            client.bind((source, 0))
        client.connect((host, port))
        yield client


def ask_udp(port: int, data: bytes, host: str = LOCALHOST, source: str | None = None) -> bytes:
    """Send a datagram, and return the answer."""
    with udp(port, host, source) as client:
        client.send(data)
        return client.recv(65536)


def tls_context(authority: Path | None = None, alpn: list[str] | None = None) -> ssl.SSLContext:
    """Return a context that trusts `authority`, or anyone."""
    context = ssl.create_default_context(cafile=authority)
    if authority is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    return context


def connect_tls(
    port: int,
    name: str | None = None,
    context: ssl.SSLContext | None = None,
    host: str = LOCALHOST,
) -> ssl.SSLSocket:
    """Open a TLS connection with this SNI; without a context any certificate will do."""
    context = context or tls_context()
    plain = connect(port, host)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


def ask_tls(
    port: int,
    name: str | None = None,
    context: ssl.SSLContext | None = None,
    host: str = LOCALHOST,
) -> bytes:
    """Connect over TLS, and read to the end."""
    with connect_tls(port, name, context, host) as client:
        return read_all(client)


class Talk(NamedTuple):
    """A connection that has ended."""

    shown: str
    """The name in the certificate."""
    answer: bytes
    session: ssl.SSLSession | None
    is_resumed: bool


def talk_tls(
    port: int,
    name: str | None,
    context: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
) -> Talk:
    """Connect over TLS, and read to the end."""
    context = context or tls_context()
    plain = connect(port)
    with context.wrap_socket(plain, server_hostname=name, session=session) as client:
        shown, answer = name_of(client.getpeercert(binary_form=True)), read_all(client)
        return Talk(shown, answer, client.session, bool(client.session_reused))
