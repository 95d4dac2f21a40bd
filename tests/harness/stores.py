"""Real redis and etcd servers, each a process that a test starts, restarts and ends."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
from base64 import b64encode
from typing import TYPE_CHECKING, Protocol

import httpx
import pytest
from tests.harness.clients import LOCALHOST
from tests.harness.servers import listen, port_of
from tests.harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class PeerStore(Protocol):
    """A store with a list of peers, as an operator changes it."""

    port: int

    def put(self, address: str) -> None:
        """Add a peer."""

    def remove(self, address: str) -> None:
        """Take a peer out."""

    def stop(self) -> None:
        """End the server; what it holds is on disk."""

    def start(self) -> None:
        """Start it, again, on the same port."""


class _Server:
    """A server process on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with listen() as free:
            self.port = port_of(free)
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, command: list[str]) -> None:
        """Start a command, and return when its port answers."""
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        with (self.folder / f"{command[0]}.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        until(self._answers, f"{command[0]} to answer")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection((LOCALHOST, self.port), PATIENCE).close()
            return True
        return False


class RedisStore(_Server):
    """redis-server, which tells of changes; the list is the set `message_servers`."""

    def start(self) -> None:
        """Start it, again, on the same port."""
        options = {"--port": str(self.port), "--bind": LOCALHOST, "--appendonly": "yes"}
        options |= {"--appendfsync": "always", "--notify-keyspace-events": "Kgs"}
        self.run(["redis-server", *(word for option in options.items() for word in option)])

    def put(self, address: str) -> None:
        """Add a peer."""
        self._command("SADD", "message_servers", address)

    def remove(self, address: str) -> None:
        """Take a peer out."""
        self._command("SREM", "message_servers", address)

    def _command(self, *words: str) -> None:
        with socket.create_connection((LOCALHOST, self.port), PATIENCE) as client:
            client.sendall(f"{' '.join(words)}\r\n".encode())
            assert client.recv(64) == b":1\r\n"


class EtcdStore(_Server):
    """etcd; the list is what lies below `/message_servers/`."""

    def start(self) -> None:
        """Start it, again, on the same port."""
        url = f"http://{LOCALHOST}:{self.port}"
        options = {"--listen-client-urls": url, "--advertise-client-urls": url}
        options |= {"--listen-peer-urls": f"http://{LOCALHOST}:0", "--data-dir": "etcd.data"}
        self.run(["etcd", *(word for option in options.items() for word in option)])
        until(self._is_leader, "etcd to have a leader")

    def put(self, address: str) -> None:
        """Add a peer."""
        value = f'{{"address": "{address}"}}'
        self._post("kv/put", key=_key(address), value=b64encode(value.encode()).decode())

    def remove(self, address: str) -> None:
        """Take a peer out."""
        self._post("kv/deleterange", key=_key(address))

    def _is_leader(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            self._post("kv/range", key=_key(""))
            return True
        return False

    def _post(self, what: str, **body: str) -> None:
        url = f"http://{LOCALHOST}:{self.port}/v3/{what}"
        httpx.post(url, json=body, trust_env=False).raise_for_status()


def _key(address: str) -> str:
    return b64encode(f"/message_servers/{address}".encode()).decode()


@contextlib.contextmanager
def store(kind: str, folder: Path) -> Iterator[PeerStore]:
    """Run a store: `redis` or `etcd`."""
    folder.mkdir()
    server = RedisStore(folder) if kind == "redis" else EtcdStore(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
