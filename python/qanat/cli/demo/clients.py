"""The demo's clients: a question over TCP, UDP or TLS, a call of the control API; none hangs."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE = 5.0
CONTROL = ("127.0.0.1", 8081)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: text, or the client's error; over TLS also the certificate's common name."""

    text: str
    certificate: str = ""


def ask_tcp(host: str, port: int) -> Answer:
    """Connect, send a request, read to the end."""
    try:
        with socket.create_connection((host, port), PATIENCE) as stream:
            stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return Answer(read_all(stream))
    except OSError as error:
        return Answer(f"({error.strerror or error})")


def ask_udp(host: str, port: int) -> Answer:
    """Send one datagram from a connected socket: only an answer from that very address arrives."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect((host, port))
            client.send(b"hello")
            return Answer(client.recv(65535).decode())
        except OSError as error:
            return Answer(f"({error.strerror or error})")


def ask_tls(host: str, port: int, server_name: str | None = None) -> Answer:
    """Shake hands without verifying, note the certificate, read to the end."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), PATIENCE) as stream,
            context.wrap_socket(stream, server_hostname=server_name) as secure,
        ):
            certificate = secure.getpeercert(binary_form=True) or b""
            return Answer(read_all(secure), common_name(certificate))
    except ssl.SSLError as error:
        return Answer(f"(TLS alert: {error.reason or error})")
    except OSError as error:
        return Answer(f"({error.strerror or error})")


def read_all(stream: socket.socket) -> str:
    """Everything until the end of the stream."""
    parts = []
    while part := stream.recv(65536):
        parts.append(part)
    return b"".join(parts).decode(errors="replace").strip()


def common_name(certificate: bytes) -> str:
    """Subject common name of a DER certificate."""
    subject = x509.load_der_x509_certificate(certificate).subject
    names = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def call(
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
    control: tuple[str, int] = CONTROL,
) -> str:
    """Call the control API; the body of the answer."""
    connection = http.client.HTTPConnection(*control, timeout=PATIENCE)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        return connection.getresponse().read().decode()
    finally:
        connection.close()
