"""Kill -9 at any moment: what was acknowledged is there after it, and nothing by halves."""

from __future__ import annotations

import contextlib
import random
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.harness.clients import ask, connect_unix, read_all
from tests.harness.stream_srv import SUCCESS, add, remove

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.gateway import Gateway

# The client's address is the name of the virtual server that it is for.
CONFIG = """
stream {
    map $remote_addr $mesh_server_name { default $remote_addr; }
    server { listen 127.0.0.1:@front; return "default"; }
}
"""
ROUNDS = 8
WRITERS = 4
pytestmark = pytest.mark.slow


@dataclass
class Writer:
    """Changes names of its own, one after another, and keeps what it was told."""

    port: int
    names: list[str]
    chance: random.Random
    answered: dict[str, bytes] = field(default_factory=dict)
    """The text that each name serves, by the last answer; without one there is none."""
    pending: tuple[str, bytes | None] | None = None
    """The change that has had no answer: name and text."""
    acknowledged: int = 0

    def write(self, api: httpx.Client, enough: threading.Semaphore) -> None:
        """Change until the gateway is gone."""
        while True:
            name = self.chance.choice(self.names)
            text = None if name in self.answered else b"%d" % self.chance.getrandbits(64)
            self.pending = (name, text)
            try:
                self._change(api, name, text)
            except httpx.TransportError:
                return
            self.pending = None
            self.acknowledged += 1
            enough.release()

    def _change(self, api: httpx.Client, name: str, text: bytes | None) -> None:
        where = f"{host_of(name)}:{self.port}"
        if text is None:
            assert remove(api, where, name) == SUCCESS
            del self.answered[name]
        else:
            body = f'proxy_timeout 7s; return "{text.decode()}";'
            assert add(api, where, name, body) == SUCCESS
            self.answered[name] = text

    def settle(self, found: dict[str, bytes]) -> None:
        """Compare with what is there after a restart; take over the fate of the pending change."""
        if self.pending is not None:
            name, text = self.pending
            allowed = {self.answered.get(name), text}
            assert found.get(name) in allowed, f"{name}: {found.get(name)!r} is none of {allowed}"
            self.answered.pop(name, None)
            if name in found:
                self.answered[name] = found[name]
            self.pending = None
        assert {name: found[name] for name in self.names if name in found} == self.answered


def host_of(name: str) -> str:
    """Give every second name the listener of the file, and the others one of their own."""
    return name if int(name.rpartition(".")[2]) % 2 else "127.0.0.1"


def served(gateway: Gateway, names: list[str]) -> dict[str, bytes]:
    """Ask for every name; return the texts of those that are there."""
    port = gateway.port("front")
    found = {}
    for name in names:
        with contextlib.suppress(ConnectionRefusedError):
            text = ask(port, host=host_of(name), source=name)
            if text != b"default":
                found[name] = text
    return found


def listed(gateway: Gateway) -> dict[str, bytes]:
    with gateway.api() as api:
        servers = api.get("/v1/servers").json()["servers"]
        assert api.get("/v1/status").json()["skipped"] == []
    return {
        server["names"][0]: server["content"]["value"].encode()
        for server in servers
        if server["dynamic"]
    }


def test_kill_in_a_loop_of_changes(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    writers = [
        Writer(
            port=gateway.port("front"),
            names=[f"127.0.{10 + number}.{n}" for n in range(1, 13)],
            chance=random.Random(f"{seed} {number}"),
        )
        for number in range(WRITERS)
    ]
    names = [name for writer in writers for name in writer.names]
    gateway.start_with_api()
    for _ in range(ROUNDS):
        enough = threading.Semaphore(0)
        with httpx.Client(base_url=f"http://127.0.0.1:{gateway.port('control_api')}") as api:
            threads = [
                threading.Thread(target=writer.write, args=(api, enough)) for writer in writers
            ]
            for thread in threads:
                thread.start()
            for _ in range(chance.randint(1, 120)):
                enough.acquire()
            # Anywhere within a change, not just after one.
            threading.Event().wait(chance.uniform(0, 0.004))
            gateway.kill()
            for thread in threads:
                thread.join()
        gateway.start_with_api()
        found = served(gateway, names)
        assert listed(gateway) == found
        for writer in writers:
            writer.settle(found)
    acknowledged = sum(writer.acknowledged for writer in writers)
    print(f"{acknowledged} acknowledged changes, {ROUNDS} kills")
    assert acknowledged > ROUNDS


def kill_after_adding(gateway: Gateway, where: str, name: str, body: str) -> None:
    """Start, add a virtual server, and kill right after the answer."""
    gateway.start_with_api()
    with gateway.api() as api:
        assert add(api, where, name, body) == SUCCESS
    gateway.kill()


def test_kill_right_after_the_answer(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    where, port = f"127.0.0.1:{gateway.port('front')}", gateway.port("front")
    kill_after_adding(gateway, where, "127.0.9.1", 'return "added";')
    gateway.start_with_api()
    assert ask(port, source="127.0.9.1") == b"added"
    with gateway.api() as api:
        assert remove(api, where, "127.0.9.1") == SUCCESS
    gateway.kill()
    gateway.start_with_api()
    assert ask(port, source="127.0.9.1") == b"default"


def test_kill_while_it_starts(gateway: Gateway) -> None:
    gateway.write(CONFIG)
    where, port = f"127.0.0.1:{gateway.port('front')}", gateway.port("front")
    kill_after_adding(gateway, where, "127.0.9.1", 'return "added";')
    for _ in range(4):
        with subprocess.Popen(gateway.command(), stdout=subprocess.DEVNULL) as starting:
            threading.Event().wait(random.uniform(0.1, 0.8))
            starting.kill()
    gateway.start_with_api()
    assert ask(port, source="127.0.9.1") == b"added"


def test_a_socket_file_that_a_crash_leaves_is_no_hindrance(
    gateway: Gateway, tmp_path: Path
) -> None:
    path = tmp_path / "live.sock"
    gateway.write(CONFIG)
    kill_after_adding(gateway, f"unix:{path}", "a", 'return "unix";')
    assert path.exists()
    gateway.start_with_api()
    with connect_unix(path) as client:
        assert read_all(client) == b"unix"
