"""Streams, services and broken connections leave nothing behind at either end of a tunnel, and no
visitor ever sees a byte that is not its own. `make soak` runs more of it."""

from __future__ import annotations

import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness.clients import is_reset, read_exactly, reset
from tests.harness.forwarding import Forwarding, echoed, seconds_to_reset, talks
from tests.harness.link import linked
from tests.harness.servers import echo, serve
from tests.harness.tunnels import Node, new_secret, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.link import Link

VISITS = int(os.environ.get("QANAT_SOAK_SESSIONS", "20000")) // 4
WARM_UP = 1000
STREAMS = 20
"""Streams that are open when the connections of the tunnel are cut."""
SLACK_KB = 4096
VISITORS = 4


class Visitor:
    """One of those that come again and again, each time with other bytes."""

    ROUND = 8

    def __init__(self, way: Forwarding, seed: int) -> None:
        self.way = way
        self.random = Random(seed)

    def round(self) -> None:
        for size in (1, 100, 1000, 20_000, 300_000):
            data = self.random.randbytes(size)
            assert digest(echoed(self.way.port, data)) == digest(data)
        with self.way.visit() as visitor:
            assert talks(visitor, self.random.randbytes(1000))
        visitor = self.way.visit()
        visitor.sendall(self.random.randbytes(100_000))
        reset(visitor)
        silent = self.way.visit()
        silent.close()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def visit(way: Forwarding, visits: int) -> None:
    visitors = [Visitor(way, seed) for seed in range(VISITORS)]
    rounds = -(-visits // (VISITORS * Visitor.ROUND))

    def come(visitor: Visitor) -> None:
        for _ in range(rounds):
            visitor.round()

    with ThreadPoolExecutor(VISITORS) as threads:
        list(threads.map(come, visitors))


def change(near: Node, far: Node, changes: int) -> None:
    """Have services, bindings and a tunnel come and go beside the traffic."""
    for number in range(changes):
        name = f"x{number % 3}"
        done = [
            far.post("/service", name=name, type="remote", addr="127.0.0.1:9"),
            far.post("/bind", tunnel="t", service=name, type="remote"),
            near.post("/service", name=name, type="local", addr="127.0.0.1:0"),
            near.post("/bind", tunnel="t", service=name, type="local"),
        ]
        # The target refuses.
        assert seconds_to_reset(done[2].json()["port"], visitors=1)
        done += [
            near.post("/tunnel", name="u", dest=f"127.0.0.1:{far.tunnel_port}"),
            near.delete("/tunnel", name="u"),
            near.delete("/service", name=name, type="local"),
            near.delete("/bind", tunnel="t", service=name, type="local"),
            far.delete("/bind", tunnel="t", service=name, type="remote"),
            far.delete("/service", name=name, type="remote"),
        ]
        for answer in done:
            assert answer.status_code == 200, answer.text


def cut(way: Forwarding, link: Link, times: int) -> None:
    """Cut the tunnel in the middle of streams: each is reset, and the next visitor is served."""
    for _ in range(times):
        open_now = [way.visit() for _ in range(STREAMS)]
        for stream in open_now:
            assert talks(stream)
        for stream in open_now[::2]:
            stream.sendall(bytes(200_000))
        link.cut()
        for stream in open_now:
            assert is_reset(stream)
            stream.close()
        # Who asks for the tunnel need not wait for the pause between attempts, which grows.
        again = way.near.post("/tunnel", name="t", dest=f"127.0.0.1:{link.port}")
        assert again.json()["state"] == "up", again.text
        with way.visit() as after:
            after.sendall(b"again")
            assert read_exactly(after, 5) == b"again"


def streams(node: Node) -> int:
    """Count what both sides have open on the tunnel."""
    tunnel: dict[str, Any] = node.config()["tunnels"]["t"]
    return int(tunnel["serving"]) + sum(int(one["streams"]) for one in tunnel["carriers"])


def process_of(node: Node) -> Path:
    assert node.gateway.process is not None
    return Path(f"/proc/{node.gateway.process.pid}")


def resident_kb(node: Node) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", (process_of(node) / "status").read_text())
    assert found is not None
    return int(found[1])


def sockets(node: Node) -> int:
    found = 0
    for descriptor in (process_of(node) / "fd").iterdir():
        try:
            found += descriptor.readlink().name.startswith("socket:")
        except FileNotFoundError:
            continue
    return found


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Give two gateways that can have tunnels to each other, and nothing behind them."""
    secret = new_secret()
    near, far = (start_node(tmp_path / name, name, secret) for name in "ab")
    yield near, far
    stop_node(near)
    stop_node(far)


def test_tunnels_leave_nothing_in_memory(ends: tuple[Node, Node]) -> None:
    near, far = ends
    with serve(echo) as target, linked(far.tunnel_port) as link:
        way = Forwarding(near, far, target).make(without="tunnel")
        assert near.post("/tunnel", name="t", dest=f"127.0.0.1:{link.port}").status_code == 200
        run(way, link, WARM_UP)
        before = [(resident_kb(node), sockets(node)) for node in ends]
        run(way, link, VISITS)
        until(
            lambda: [sockets(node) for node in ends] == [count for _, count in before],
            "sockets to be closed",
        )
        for node, (memory, _) in zip(ends, before, strict=True):
            grown = resident_kb(node) - memory
            print(f"{VISITS} visits: {memory} kB, and {grown} kB more")
            assert grown < SLACK_KB


def run(way: Forwarding, link: Link, visits: int) -> None:
    with ThreadPoolExecutor(1) as beside:
        changing = beside.submit(change, way.near, way.far, visits // 50)
        visit(way, visits)
        changing.result()
    cut(way, link, visits // 250)
    ends = (way.near, way.far)
    until(lambda: all(node.state_of("t") == "up" for node in ends), "the tunnel is up")
    until(lambda: not any(streams(node) for node in ends), "all streams to end")
