"""Sessions leave nothing behind in memory, whichever phases they went through and however they
ended. `make soak` runs more of them."""

from __future__ import annotations

import os
import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.clients import ask_udp, connect, read_all, reset, tls_context
from tests.harness.handlers import write_module
from tests.harness.waiting import until

if TYPE_CHECKING:
    from tests.harness.certificates import Authority
    from tests.harness.gateway import Gateway

SESSIONS = int(os.environ.get("QANAT_SOAK_SESSIONS", "20000"))
WARM_UP = 4000
SLACK_KB = 4096
"""What allocators keep of busier moments: 200 bytes a session, 40 of `make soak`."""
SLACK_OBJECTS = 500
CLIENTS = 8

MODULE = """
import asyncio
import gc
import struct
from hashlib import sha256
from pathlib import Path

from qanat import Certificate, Peer, SharedDict
from qanat.handlers import (
    AccessSession, BalanceSession, CertificateSession, ClientHelloSession, ContentSession,
    DatagramSession, LogRecord, PrereadSession, VerifySession,
)

CONF = Path(__file__).parent.parent / "conf"
CHAIN = Certificate.load(CONF / "one.test.pem", CONF / "one.test.key")
devices = SharedDict("devices", size="128k")
counts = SharedDict("counts", size="64k")


def admit(session: AccessSession) -> None:
    session.ctx.path = [session.phase]
    session.ctx.itself = session


async def greet(session: ClientHelloSession) -> None:
    session.ctx.path.append(session.phase)
    session.ctx.offer = session.ja4, session.alpn, session.extensions
    await asyncio.sleep(0)


def choose_certificate(session: CertificateSession) -> Certificate:
    session.ctx.path.append(session.phase)
    return CHAIN


async def login(session: PrereadSession) -> None:
    session.ctx.path.append(session.phase)
    head = await session.peek(6)
    size = struct.unpack(">IH", head)[1]
    whole = await session.read_exactly(6 + size)
    session.unread(whole)
    device = whole[6:].decode()
    session.vars["device"] = session.ctx.device = device
    devices.set(device, len(whole), ttl=60)
    devices.incr("logins", initial=0)
    if device == "broken":
        raise RuntimeError("a device that is broken", session)
    if device == "stranger":
        session.reject(403, b"not you")
    if device == "leaving":
        await session.write(b"wait")
        await asyncio.Event().wait()


def choose_peer(session: BalanceSession) -> Peer:
    session.ctx.path.append(session.phase)
    return Peer(session.vars["peer"])


def verify(session: VerifySession) -> bool:
    return bool(sha256(session.chain[0]).digest()) and session.result is not None


async def answer(session: ContentSession) -> None:
    session.ctx.path.append(session.phase)
    size = struct.unpack(">IH", await session.reader.readexactly(6))[1]
    session.writer.write(b"for " + await session.reader.readexactly(size))
    await session.writer.drain()


async def answer_datagram(session: DatagramSession) -> None:
    session.send(b"for " + await session.receive())


def note(record: LogRecord) -> None:
    record.ctx.record = record
    counts.incr("ended", initial=0)


async def tell(session: ContentSession) -> None:
    gc.collect()
    text = f"{counts.get('ended', 0)} {len(gc.get_objects())}"
    session.writer.write(text.encode())
"""

CONFIG = """
stream {
    python_path ../py;
    log_format seen '$status $device';
    access_log logs/access.log seen;
    proxy_ssl_verify off;
    upstream chosen { balance_by_python app:choose_peer; server 127.0.0.1:9; }

    server { listen 127.0.0.1:@content; set $device ""; access_by_python app:admit;
        content_by_python app:answer; log_by_python app:note; }
    server { listen 127.0.0.1:@plain; set $device ""; access_by_python app:admit;
        preread_by_python app:login; set $peer 127.0.0.1:@content; proxy_pass chosen;
        log_by_python app:note; }
    server { listen 127.0.0.1:@tls ssl; set $device ""; access_by_python app:admit;
        ssl_client_hello_by_python app:greet; ssl_certificate_by_python app:choose_certificate;
        preread_by_python app:login; set $peer 127.0.0.1:@content; proxy_pass chosen;
        log_by_python app:note; }
    server { listen 127.0.0.1:@verified; set $device ""; access_by_python app:admit;
        preread_by_python app:login; proxy_ssl on; proxy_ssl_verify_by_python app:verify;
        proxy_pass 127.0.0.1:@tls; log_by_python app:note; }
    server { listen 127.0.0.1:@udp udp; set $device ""; access_by_python app:admit;
        content_by_python app:answer_datagram; log_by_python app:note; }
    server { listen 127.0.0.1:@counts; access_log off; content_by_python app:tell; }
}
"""


def framed(device: str) -> bytes:
    return struct.pack(">IH", 1, len(device)) + device.encode()


class Client:
    """One of those that come again and again, each time as another device."""

    ROUND = 14 * 2 + 1 * 2 + 1 * 3 + 4 + 3
    """Sessions of a round: relayed to content, over TLS, over TLS to a peer, UDP, not served."""

    def __init__(self, gateway: Gateway, number: int) -> None:
        self.gateway = gateway
        self.number = number
        self.tls = tls_context()

    def ask(self, listener: str, device: str) -> None:
        with connect(self.gateway.port(listener)) as client:
            message = framed(device)
            client.sendall(message[:3])
            client.sendall(message[3:])
            assert read_all(client) == f"for {device}".encode()

    def ask_over_tls(self, device: str) -> None:
        plain = connect(self.gateway.port("tls"))
        with self.tls.wrap_socket(plain, server_hostname="one.test") as client:
            client.sendall(framed(device))
            assert client.recv(100) == f"for {device}".encode()

    def be_refused(self, device: str, answer: bytes) -> None:
        with connect(self.gateway.port("plain")) as client:
            client.sendall(framed(device))
            assert read_all(client) == answer

    def leave(self) -> None:
        client = connect(self.gateway.port("plain"))
        client.sendall(framed("leaving"))
        assert client.recv(100) == b"wait"
        reset(client)

    def round(self, number: int) -> None:
        device = f"device-{self.number}-{number}"
        for _ in range(14):
            self.ask("plain", device)
        self.ask_over_tls(device)
        self.ask("verified", device)
        for _ in range(4):
            assert ask_udp(self.gateway.port("udp"), device.encode()) == b"for " + device.encode()
        self.be_refused("broken", b"")
        self.be_refused("stranger", b"not you")
        self.leave()


def counts(gateway: Gateway) -> tuple[int, int]:
    """Sessions that have ended, and objects that are alive."""
    with connect(gateway.port("counts")) as client:
        ended, objects = read_all(client).split()
    return int(ended), int(objects)


def resident_kb(gateway: Gateway) -> int:
    assert gateway.process is not None
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1])


def run(gateway: Gateway, sessions: int) -> None:
    """Have clients make so many sessions, and wait for the end of all."""
    before, _ = counts(gateway)
    rounds = -(-sessions // (CLIENTS * Client.ROUND))
    clients = [Client(gateway, number) for number in range(CLIENTS)]

    def come(client: Client) -> None:
        for number in range(rounds):
            client.round(number)

    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(come, clients))
    expected = before + rounds * CLIENTS * Client.ROUND
    until(lambda: counts(gateway)[0] == expected, f"the end of {expected} sessions")


def test_sessions_leave_nothing_in_memory(gateway: Gateway, authority: Authority) -> None:
    authority.issue("one.test")
    write_module(gateway, "app", MODULE)
    gateway.write(CONFIG)
    gateway.expected_alarms.append("a device that is broken")
    gateway.start()
    _, objects = counts(gateway)
    run(gateway, WARM_UP)
    memory = resident_kb(gateway)
    run(gateway, SESSIONS)
    # A handler that was cancelled is looked after for another second.
    until(lambda: counts(gateway)[1] < objects + SLACK_OBJECTS, "objects to go")
    grown = resident_kb(gateway) - memory
    print(f"{SESSIONS} sessions: {memory} kB, and {grown} kB more")
    assert grown < SLACK_KB
