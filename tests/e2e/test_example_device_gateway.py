"""The example of devices with a protocol of their own: servers come from redis or etcd."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness import examples
from tests.harness.clients import connect, read_exactly
from tests.harness.servers import listen, port_of, serve
from tests.harness.stores import store
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.examples import Example
    from tests.harness.stores import PeerStore

HEADER = struct.Struct(">ccHH")
DEVICES = [f"d-{number}" for number in range(48)]


def pack(kind: bytes, body: object) -> bytes:
    data = json.dumps(body).encode()
    return HEADER.pack(kind, b"1", 30, len(data)) + data


def receive(connection: socket.socket) -> tuple[bytes, dict[str, Any]]:
    """Receive a message; raise `EOFError` at the end of the connection."""
    header = read_exactly(connection, HEADER.size)
    if len(header) < HEADER.size:
        raise EOFError
    kind, _, _, length = HEADER.unpack(header)
    return kind, json.loads(read_exactly(connection, length))


class MessageServer:
    """A message server in a thread: welcomes devices and answers their heartbeats."""

    def __init__(self) -> None:
        self._listener = listen()
        self.address = f"127.0.0.1:{port_of(self._listener)}"
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._life = contextlib.ExitStack()
        self._life.enter_context(serve(self._talk, self._listener))

    def die(self) -> None:
        """End all connections, and accept no more."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._life.close()

    def _talk(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        with contextlib.suppress(OSError, EOFError):
            _, login = receive(connection)
            connection.sendall(pack(b"W", {"server": self.address, "devid": login["devid"]}))
            while True:
                _, beat = receive(connection)
                connection.sendall(pack(b"H", beat))
        with self._lock:
            self._open.discard(connection)


class Device:
    """A device that holds its connection."""

    def __init__(self, port: int, devid: str) -> None:
        self._connection = connect(port)
        self._connection.sendall(pack(b"L", {"devid": devid}))
        _, welcome = receive(self._connection)
        assert welcome["devid"] == devid
        self.server: str = welcome["server"]

    def beats(self) -> bool:
        """Send a heartbeat; tell whether the server answers it."""
        with contextlib.suppress(OSError, EOFError):
            self._connection.sendall(pack(b"H", {"count": 1}))
            return receive(self._connection) == (b"H", {"count": 1})
        return False

    def close(self) -> None:
        """Leave."""
        self._connection.close()


class Site:
    """The example with its store and message servers."""

    def __init__(self, example: Example, peers: PeerStore, servers: list[MessageServer]) -> None:
        self.example = example
        self.peers = peers
        self.servers = servers
        self._held: list[Device] = []

    def place(self, devid: str) -> str:
        """Return where a new connection of a device goes."""
        device = Device(self.example.port(9000), devid)
        device.close()
        return device.server

    def places(self) -> dict[str, str]:
        return {devid: self.place(devid) for devid in DEVICES}

    def connect_all(self) -> dict[str, Device]:
        held = {devid: Device(self.example.port(9000), devid) for devid in DEVICES}
        self._held.extend(held.values())
        return held

    def close(self) -> None:
        """Have all devices leave, and end the servers."""
        for device in self._held:
            device.close()
        for server in self.servers:
            server.die()


@pytest.fixture(params=["redis", "etcd"])
def site(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    monkeypatch.setenv("SERVERS", request.param)
    servers = [MessageServer() for _ in range(4)]
    with store(request.param, tmp_path / "store") as peers:
        for server in servers[:3]:
            peers.put(server.address)
        documented = "127.0.0.1:6379" if request.param == "redis" else "127.0.0.1:2379"
        elsewhere = {documented: peers.port}
        with examples.running("device_gateway", tmp_path, "python.conf", elsewhere) as example:
            example.gateway.expected_alarms.append("is away, its last list stays")
            with contextlib.closing(Site(example, peers, servers)) as made:
                yield made


def test_devices_have_a_server_of_their_own(site: Site) -> None:
    first, again = site.places(), site.places()
    assert first == again
    assert set(first.values()) == {server.address for server in site.servers[:3]}


def test_a_change_of_the_list_is_followed_without_a_restart(site: Site) -> None:
    held = site.connect_all()
    before = {devid: device.server for devid, device in held.items()}
    new = site.servers[3].address
    site.peers.put(new)
    until(lambda: new in site.places().values(), "devices at the new server")
    after = site.places()
    assert {devid for devid in DEVICES if after[devid] != before[devid]} == {
        devid for devid in DEVICES if after[devid] == new
    }
    assert all(device.beats() for device in held.values())
    site.peers.remove(new)
    until(lambda: site.places() == before, "the places of before")


def test_a_server_that_dies_moves_only_its_own_devices(site: Site) -> None:
    held = site.connect_all()
    before = {devid: device.server for devid, device in held.items()}
    dead = site.servers[1]
    dead.die()
    alive = {devid: device.beats() for devid, device in held.items()}
    assert alive == {devid: server != dead.address for devid, server in before.items()}
    after = site.places()
    moved = {devid for devid in DEVICES if after[devid] != before[devid]}
    assert moved == {devid for devid in DEVICES if before[devid] == dead.address}
    site.example.gateway.expected_alarms.append("connect\\(\\) failed")


def test_the_last_list_stays_while_the_store_is_away(site: Site) -> None:
    before = site.places()
    site.peers.stop()
    site.example.gateway.wait_for_log("is away, its last list stays")
    assert site.places() == before
    site.peers.start()
    site.example.gateway.wait_for_log("is back")
    new = site.servers[3].address
    site.peers.put(new)
    until(lambda: new in site.places().values(), "devices at the new server")


def test_a_login_that_makes_no_sense_is_refused(site: Site) -> None:
    with connect(site.example.port(9000)) as client:
        client.sendall(HEADER.pack(b"L", b"1", 1, 4) + b"nope")
        assert client.recv(1) == b""
    assert " 400 " in site.example.gateway.log_lines(1, "devices.log")[0]
