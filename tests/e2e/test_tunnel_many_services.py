"""A thousand services on one tunnel: all at once from a file, and one by one over HTTP."""

from __future__ import annotations

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask
from tests.harness.forwarding import Forwarding, talks
from tests.harness.servers import echo, serve, tagged
from tests.harness.tunnels import Node, configure, new_secret, reload, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

SERVICES = 1000
STALL_S = 0.05


@pytest.fixture
def secret() -> str:
    return new_secret()


@pytest.fixture
def own_pair(secret: str, tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    a, b = (start_node(tmp_path / name, name, secret) for name in "ab")
    yield a, b
    stop_node(a)
    stop_node(b)


@contextmanager
def watched(stream: socket.socket) -> Iterator[list[float]]:
    """Measure round trips of a stream all the while."""
    turns: list[float] = []
    is_over = threading.Event()

    def talk() -> None:
        while not is_over.is_set():
            began = time.monotonic()
            assert talks(stream)
            turns.append(time.monotonic() - began)

    with ThreadPoolExecutor(1) as pool:
        talking = pool.submit(talk)
        try:
            yield turns
        finally:
            is_over.set()
            talking.result()


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def memory_mib(node: Node) -> float:
    """Read how much memory a gateway has in use."""
    process = node.gateway.process
    assert process is not None
    [line] = [
        line
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) / 1024


def descriptors(node: Node) -> int:
    process = node.gateway.process
    assert process is not None
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))


def address(number: int) -> str:
    """Give each service an address of its own."""
    return f"127.1.{number // 250}.{1 + number % 250}"


def ports_of(node: Node) -> dict[str, int]:
    """Ask where the services listen."""
    local = node.config()["services"]["local"]
    return {name: int(seen["addr"].rpartition(":")[2]) for name, seen in local.items()}


def test_a_file_with_a_thousand_services_is_applied_while_streams_go_on(
    own_pair: tuple[Node, Node], secret: str
) -> None:
    a, b = own_pair
    with serve(echo) as peer, serve(tagged("here")) as target:
        way = Forwarding(a, b, peer, "watched").make()
        lines = [
            "service s{0} local {1}:@shared; bind t s{0} local;",
            f"service s{{0}} remote 127.0.0.1:{target}; bind t s{{0}} remote;",
        ]
        files, memory = descriptors(a), [memory_mib(node) for node in own_pair]
        with way.visit() as stream, watched(stream) as turns:
            until(lambda: len(turns) > 100, "some round trips")
            quiet = statistics.median(turns)
            for node, line in zip(own_pair, lines, strict=True):
                text = "\n".join(line.format(number, address(number)) for number in range(SERVICES))
                configure(node.gateway, "ab", secret, text)
                turns.clear()
                assert seconds(partial(reload, node)) < 2
                assert statistics.median(turns) < max(STALL_S, 3 * quiet)
        for number in range(SERVICES):
            assert ask(a.gateway.port("shared"), host=address(number)) == b"here"
        # Listening sockets and some memory, and the sockets go with their services.
        for node, before in zip(own_pair, memory, strict=True):
            assert memory_mib(node) - before < 128
        assert descriptors(a) - files < 3 * SERVICES
        configure(a.gateway, "ab", secret)
        assert "reconfigured" in reload(a)
        until(lambda: descriptors(a) < files + 64, "the sockets to close")
        assert way.is_served()


def test_a_thousand_services_are_added_one_by_one_while_streams_go_on(
    own_pair: tuple[Node, Node],
) -> None:
    a, b = own_pair
    names = [f"s{number}" for number in range(SERVICES)]

    def add(node: Node, kind: str, addr: list[object]) -> None:
        for name in names:
            added = node.post("/service", name=name, type=kind, addr=addr)
            assert added.json()["changed"], added.text
            assert node.post("/bind", tunnel="t", service=name, type=kind).json()["changed"]

    with serve(echo) as peer, serve(tagged("here")) as target:
        way = Forwarding(a, b, peer, "watched").make()
        with way.visit() as stream, watched(stream) as turns, ThreadPoolExecutor(2) as pool:
            until(lambda: len(turns) > 100, "some round trips")
            quiet = statistics.median(turns)
            turns.clear()
            began = time.monotonic()
            sides = [
                pool.submit(add, a, "local", ["127.0.0.1", 0]),
                pool.submit(add, b, "remote", ["127.0.0.1", target]),
            ]
            for side in sides:
                side.result()
            took = time.monotonic() - began
            assert statistics.median(turns) < max(STALL_S, 3 * quiet)
        # 4,000 changes, each of them stored.
        assert took < 120
        ports = ports_of(a)
        assert all(ask(ports[name]) == b"here" for name in names)
