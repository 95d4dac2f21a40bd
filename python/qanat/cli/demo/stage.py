"""What the demo stands on: configuration, certificates, a server behind, a running gateway."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from qanat.cli.demo import clients

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATION = Path(__file__).parent / "conf"
START = 20.0
HELLO = b"HTTP/1.0 200 OK\r\nContent-Length: 18\r\n\r\nanswer from 5555\r\n"


class DemoError(Exception):
    """The demo cannot go on; the text is for the user."""


@dataclass(slots=True)
class Gateway:
    """The gateway's process and the prefix that it runs in."""

    prefix: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """End it in order."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


def make_prefix(folder: Path) -> Path:
    """Lay out configuration, log folder and fresh certificates where the example expects them."""
    (folder / "conf/certs/ca").mkdir(parents=True)
    (folder / "logs").mkdir()
    for name in ("njet.conf", "ctrl.conf", "njet-reject.conf"):
        shutil.copy(CONFIGURATION / name, folder / "conf" / name)
    for name in ("tunnel-a.conf", "tunnel-b.conf"):
        shutil.copy(CONFIGURATION.parent / name, folder / "conf" / name)
    authority = folder / "conf/certs/ca"
    make_certificate(
        ec.generate_private_key(ec.SECP256R1()),
        "default (ECC)",
        authority / "ECC/ecc-root_cert.pem",
        authority / "ECC/ecc-root_private_key.pem",
    )
    make_certificate(
        rsa.generate_private_key(65537, 2048),
        "server-19082 (RSA)",
        authority / "RSA/rsa.server.cer.pem",
        authority / "RSA/rsa.server.key.pem",
    )
    return folder


def make_certificate(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, name: str, certificate: Path, private: Path
) -> None:
    """Write a self-signed certificate that is valid for a day, and its key."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    certificate.parent.mkdir(exist_ok=True)
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    private.chmod(0o600)


@contextmanager
def server_behind() -> Iterator[None]:
    """Serve on 127.0.0.1:5555, where the example's `backend_s1` points."""
    try:
        listener = socket.create_server(("127.0.0.1", 5555))
    except OSError as error:
        message = f"port 5555, which the example proxies to, is taken: {error.strerror}"
        raise DemoError(message) from error
    thread = threading.Thread(target=answer_all, args=(listener,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def answer_all(listener: socket.socket) -> None:
    """Answer every connection until the listener is shut down."""
    while True:
        try:
            stream, _ = listener.accept()
        except OSError:
            return
        with stream:
            stream.settimeout(clients.PATIENCE)
            if stream.recv(4096):
                stream.sendall(HELLO)


@contextmanager
def gateway(prefix: Path, configuration: str) -> Iterator[Gateway]:
    """Run the gateway on one of the example's files; ready when its control API answers."""
    running = start(prefix, configuration)
    try:
        yield running
    finally:
        running.stop()


def start(prefix: Path, configuration: str, control: tuple[str, int] = clients.CONTROL) -> Gateway:
    """Start the gateway and wait until its control API answers."""
    command = [sys.executable, "-m", "qanat", "-p", f"{prefix}/", "-c", f"conf/{configuration}"]
    with (prefix / "logs/output.txt").open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and program
            [*command, "-g", "daemon off;"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = Gateway(prefix, process)
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            clients.call("GET", "/v1/status", control=control)
        except OSError:
            time.sleep(0.05)
        else:
            return running
    running.kill()
    printed = (prefix / "logs/output.txt").read_text().strip()
    message = f"the gateway did not start:\n{printed}"
    raise DemoError(message)
