"""Ten thousand virtual servers: one more costs what the first did, and the start stays short."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import closing
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask
from tests.harness.gateway import Gateway
from tests.harness.stream_srv import SUCCESS, add, remove

from qanat.compiler.virtual_server import VirtualServerRequest
from qanat.control.state import DynamicServer, Opening
from qanat.store.base import PutServer
from qanat.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

MANY = 10_000
ROUNDS = 41
CONFIG = """
stream {
    map $remote_addr $mesh_server_name { 127.0.0.2 server-9999; 127.0.0.3 one-more; default ""; }
    server { listen 127.0.0.1:@front; return "default"; }
@servers
}
"""
pytestmark = pytest.mark.slow


def configure(gateway: Gateway, names: range = range(0)) -> None:
    """Write a configuration with a virtual server for each number."""
    port = gateway.port("front")
    servers = "\n".join(
        f'server {{ listen 127.0.0.1:{port}; server_name server-{n}; return "{n}"; }}'
        for n in names
    )
    gateway.write(CONFIG, servers=servers)


def store(gateway: Gateway, names: range) -> None:
    """Write the store that as many calls of the API leave behind."""
    where = f"127.0.0.1:{gateway.port('front')}"
    listener, opening = f"tcp:{where}", Opening(where, "")

    def record(n: int) -> PutServer:
        name = f"server-{n}"
        request = VirtualServerRequest(where, name, f'return "{n}";')
        server = f"{listener}/{name}"
        made = DynamicServer((listener, name), server, request, opening, revision=n + 1)
        return PutServer(made.stored())

    async def write() -> None:
        node = "localhost"
        opened = await SqliteStore.open(gateway.prefix / "state", node)
        await opened.apply(tuple(record(n) for n in names), len(names))
        await opened.close()

    asyncio.run(write())


def seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def start(gateway: Gateway) -> Start:
    """Start it; measure until the ten-thousandth virtual server answers."""

    def until_served() -> None:
        gateway.start_with_api("--workers", "2")
        assert ask(gateway.port("front"), source="127.0.0.2") == b"9999"

    wall = seconds(until_served)
    return Start(wall, wall - waited(gateway))


@dataclass(frozen=True, order=True)
class Start:
    """How long a start took, and how long without the time that others had the processors."""

    wall: float
    own: float


def waited(gateway: Gateway) -> float:
    """Sum the seconds in which the gateway's threads were ready to run and did not."""
    assert gateway.process is not None
    tasks = Path(f"/proc/{gateway.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[1]) for task in tasks) / 1e9


def check_start(gateway: Gateway, source: str) -> None:
    starts = []
    for _ in range(3):
        starts.append(start(gateway))
        gateway.stop()
    best = min(starts, key=attrgetter("own"))
    print(f"\ncold start with {MANY} virtual servers in the {source}: {best}")
    assert best.own < 2


def test_cold_start_from_the_file(gateway: Gateway) -> None:
    configure(gateway, range(MANY))
    check_start(gateway, "file")


def test_cold_start_from_the_store(gateway: Gateway) -> None:
    configure(gateway)
    store(gateway, range(MANY))
    check_start(gateway, "store")


def test_one_more(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> None:
    small = Gateway(tmp_path_factory.mktemp("small"))
    configure(small)
    configure(gateway)
    store(gateway, range(MANY))
    with closing(small):
        small.start_with_api("--workers", "2")
        start(gateway)
        times: dict[Gateway | int, list[float]] = {1: [], MANY: []}
        with small.api() as few, gateway.api() as many:
            for _ in range(ROUNDS):
                times[1].append(add_one(few, small))
                times[MANY].append(add_one(many, gateway))
    first, last = (1000 * statistics.median(times[count]) for count in (1, MANY))
    print(f"\none more of 1: {first:.2f} ms, of {MANY}: {last:.2f} ms, ratio {last / first:.2f}")
    assert last <= 2 * first


def add_one(api: httpx.Client, gateway: Gateway) -> float:
    """Add a virtual server and see it; remove it again. Return the time of the addition."""
    where = f"127.0.0.1:{gateway.port('front')}"
    took = seconds(lambda: add(api, where, "one-more", 'return "one more";'))
    assert ask(gateway.port("front"), source="127.0.0.3") == b"one more"
    assert remove(api, where, "one-more") == SUCCESS
    return took
