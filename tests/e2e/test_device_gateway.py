"""`examples/device_gateway`: devices stay with the message server that their id belongs to, and a
server that dies moves only its own."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING

from tests.harness import examples
from tests.harness.waiting import PATIENCE

from qanat.handlers import ConsistentHash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.examples import Example

DEVICES = [f"d-{number}" for number in range(24)]
SERVERS = (1001, 1002, 1003)


class Program:
    """A program of the example, by what it prints."""

    def __init__(self, process: subprocess.Popen[str], printed: IO[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(printed,), daemon=True)
        self._reader.start()

    def _read(self, printed: IO[str]) -> None:
        for line in printed:
            self._lines.put(line.strip())

    def next(self) -> str:
        """Wait for its next line."""
        return self._lines.get(timeout=PATIENCE)

    def stop(self) -> None:
        """End it, and wait for that."""
        self.process.terminate()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)


@contextmanager
def program(folder: Path, *arguments: str) -> Iterator[Program]:
    """Run a program of the example, with a heartbeat every second."""
    command = [sys.executable, *arguments]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, env={**os.environ, "WAIT": "1"}
    ) as process:
        assert process.stdout is not None
        running = Program(process, process.stdout)
        try:
            yield running
        finally:
            running.stop()


@contextmanager
def message_servers(example: Example, folder: Path) -> Iterator[dict[str, Program]]:
    """Run the message servers, by address."""
    with ExitStack() as stack:
        servers = {}
        for documented in SERVERS:
            address = f"127.0.0.1:{example.port(documented)}"
            servers[address] = stack.enter_context(program(folder, "server.py", address))
            assert servers[address].next() == f"{address} serves"
        yield servers


def places(devices: Program, count: int) -> dict[str, str]:
    """Wait until so many devices are somewhere; return where."""
    found: dict[str, str] = {}
    while len(found) < count:
        devid, _, place = devices.next().partition(" is at ")
        if place:
            found[devid] = place
    return found


def wait_for(running: Program, lines: set[str]) -> None:
    """Wait until a program has printed all of these lines."""
    while lines:
        lines.discard(running.next())


def test_devices_are_placed_by_frame_and_hash(tmp_path: Path) -> None:
    folder = tmp_path / "device_gateway"
    with (
        examples.running("device_gateway", tmp_path, "frame.conf") as example,
        message_servers(example, folder) as servers,
        program(folder, "device.py", *DEVICES) as devices,
    ):
        ring = ConsistentHash(list(servers))
        placed = places(devices, len(DEVICES))
        # As nginx does with `hash … consistent`, for which the ring is measured elsewhere.
        assert placed == {devid: str(peer_of(ring, devid)) for devid in DEVICES}
        assert set(placed.values()) == set(servers)

        # Heartbeats reach both sides over the connection that the login began.
        wait_for(devices, {f"{devid} hears its server 1" for devid in DEVICES})
        for address, server in servers.items():
            own = {devid for devid, place in placed.items() if place == address}
            wait_for(server, {f"{devid} is alive" for devid in own})

        gone, *left = servers
        moving = {devid for devid, place in placed.items() if place == gone}
        servers[gone].stop()
        moved = places(devices, len(moving))
        assert set(moved) == moving
        assert set(moved.values()) <= set(left)
        # The others hear their servers again, and none of them has moved.
        staying = set(DEVICES) - moving
        heard: set[str] = set()
        while heard < staying:
            devid, _, news = devices.next().partition(" ")
            assert not (devid in staying and news.startswith(("is at", "lost"))), devid
            if news.startswith("hears"):
                heard.add(devid)
        staying_lines = example.gateway.log_lines(len(moving), "devices.log")
        assert len(staying_lines) == len(moving)


def peer_of(ring: ConsistentHash, devid: str) -> str:
    """The address that a device belongs to."""
    peer = ring.pick(devid)
    assert peer is not None
    return peer.address
