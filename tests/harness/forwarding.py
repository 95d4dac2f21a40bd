"""One service forwarded through one tunnel by Menet's five calls, and what its visitors see."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.harness.clients import connect, is_reset, read_all

if TYPE_CHECKING:
    import httpx
    from tests.harness.tunnels import Node

KEY = "UHI@&s8sa*S"
CALLS = ("tunnel", "local", "remote", "bind_local", "bind_remote")


@dataclass
class Forwarding:
    """Service `s` over tunnel `t`: visitors come to `near`, and `far` reaches the target."""

    near: Node
    far: Node
    target: object
    """Port of the target on this machine, or its address as a text."""
    service: str = "s"

    @property
    def port(self) -> int:
        """Where visitors connect."""
        return self.near.gateway.ports[f"visitors_{self.service}"]

    def tunnel(self, by: Node | None = None) -> httpx.Response:
        """Bring the tunnel up, from the near side unless told otherwise."""
        dialler = by or self.near
        acceptor = self.far if dialler is self.near else self.near
        return dialler.post("/tunnel", name="t", dest=["127.0.0.1", str(acceptor.tunnel_port)])

    def local(self, **changes: object) -> httpx.Response:
        """Open the service to visitors."""
        body = {"key": KEY, "addr": ["127.0.0.1", str(self.port)]} | changes
        return self.near.post("/service", name=self.service, type="local", **body)

    def remote(self, **changes: object) -> httpx.Response:
        """Say where the service leads to."""
        text = isinstance(self.target, str)
        addr = self.target if text else ["127.0.0.1", str(self.target)]
        body = {"key": KEY, "addr": addr} | changes
        return self.far.post("/service", name=self.service, type="remote", **body)

    def bind_local(self) -> httpx.Response:
        """Let visitors of the service use the tunnel."""
        return self.near.post("/bind", tunnel="t", service=self.service, type="local")

    def bind_remote(self) -> httpx.Response:
        """Let the tunnel use the service."""
        return self.far.post("/bind", tunnel="t", service=self.service, type="remote")

    def make(self, *, without: str = "") -> Forwarding:
        """Make all calls but one."""
        for name in CALLS:
            if name != without:
                answer = getattr(self, name)()
                assert answer.status_code == 200, answer.text
        return self

    def visit(self) -> socket.socket:
        """Come as a visitor."""
        return connect(self.port)

    def is_served(self, data: bytes = b"hello") -> bool:
        """Tell whether a visitor gets back all that it sends."""
        return echoed(self.port, data) == data


def clear(*nodes: Node) -> None:
    """Remove all that the API has added."""
    for node in nodes:
        config = node.config()
        for kind in ("local", "remote"):
            for service, tunnels in config["bind"][kind].items():
                for tunnel in tunnels:
                    node.delete("/bind", tunnel=tunnel, service=service, type=kind)
            for service in config["services"][kind]:
                node.delete("/service", "?streams=reset", name=service, type=kind)
        for name in config["tunnels"]:
            node.delete("/tunnel", name=name)


def echoed(port: int, data: bytes) -> bytes:
    """Send, end, and read what comes back to its end."""
    with connect(port) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def talks(client: socket.socket, data: bytes = b"x") -> bool:
    """Tell whether a stream that is open is answered by the echo."""
    client.sendall(data)
    return client.recv(len(data), socket.MSG_WAITALL) == data


def is_refused(port: int) -> bool:
    """Tell whether nobody listens."""
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


def seconds_to_reset(port: int, visitors: int = 5) -> float:
    """Measure how soon a visitor is reset: the fastest, so that a busy machine does not count."""
    return min(_seconds_to_reset(port) for _ in range(visitors))


def _seconds_to_reset(port: int) -> float:
    began = time.monotonic()
    try:
        with connect(port) as client:
            assert is_reset(client)
    except OSError as error:
        # It may come before the visitor knows that it is connected.
        if error.errno not in {errno.ECONNRESET, errno.ENOTCONN}:
            raise
    return time.monotonic() - began


def seconds_until_reset(client: socket.socket, began: float) -> float:
    """Measure from a moment to the reset of a stream that is open."""
    assert is_reset(client)
    return time.monotonic() - began


def nobody_came(listener: socket.socket) -> bool:
    """Tell whether nobody has connected to a socket that listens."""
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        listener.accept()[0].close()
        return False
    return True
