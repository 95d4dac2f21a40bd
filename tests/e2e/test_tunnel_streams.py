"""Streams of a tunnel: ends, resets, much data, slow readers and many services."""

from __future__ import annotations

import hashlib
import os
import socket
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from operator import sub
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.clients import connect, is_reset, read_all, reset
from tests.harness.forwarding import Forwarding, talks
from tests.harness.servers import accept, echo, listen, port_of, serve, tagged
from tests.harness.waiting import until

if TYPE_CHECKING:
    from tests.harness.tunnels import Node

MIB = 1 << 20


def test_each_side_may_end_its_half(pair: tuple[Node, Node]) -> None:
    with listen() as target:
        way = Forwarding(*pair, port_of(target)).make()
        with way.visit() as visitor:
            visitor.sendall(b"question")
            visitor.shutdown(socket.SHUT_WR)
            with accept(target) as served:
                assert read_all(served) == b"question"
                served.sendall(b"answer")
                served.shutdown(socket.SHUT_WR)
                assert read_all(visitor) == b"answer"


def test_a_target_that_ends_first_is_still_heard_and_still_hears(pair: tuple[Node, Node]) -> None:
    with listen() as target:
        way = Forwarding(*pair, port_of(target)).make()
        with way.visit() as visitor:
            visitor.sendall(b"x")
            with accept(target) as served:
                served.sendall(b"bye")
                served.shutdown(socket.SHUT_WR)
                assert read_all(visitor) == b"bye"
                visitor.sendall(b" and more")
                visitor.shutdown(socket.SHUT_WR)
                assert read_all(served) == b"x and more"


def test_resets_go_through_in_both_directions(pair: tuple[Node, Node]) -> None:
    with listen() as target:
        way = Forwarding(*pair, port_of(target)).make()
        for sides in ("visitor", "target"):
            visitor = way.visit()
            visitor.sendall(b"x")
            served = accept(target)
            assert served.recv(1) == b"x"
            first, second = (visitor, served) if sides == "visitor" else (served, visitor)
            reset(first)
            with second:
                assert is_reset(second)


def exchange(port: int, size: int) -> tuple[str, str]:
    """Send random bytes; return the digests of what was sent and of what came back."""
    sent, came = hashlib.blake2b(), hashlib.blake2b()
    block = os.urandom(MIB)
    with connect(port) as client, ThreadPoolExecutor(1) as pool:

        def read() -> None:
            while data := client.recv(MIB):
                came.update(data)

        reading = pool.submit(read)
        for number in range(size // MIB):
            part = number.to_bytes(4, "big") + block[4:]
            client.sendall(part)
            sent.update(part)
        client.shutdown(socket.SHUT_WR)
        reading.result()
    return sent.hexdigest(), came.hexdigest()


def test_64_mib_go_each_way_unharmed(pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        sent, came = exchange(way.port, 64 * MIB)
        assert sent == came


def test_a_slow_reader_stops_only_its_own_stream(pair: tuple[Node, Node]) -> None:
    def pour(connection: socket.socket) -> None:
        if connection.recv(1) != b"p":
            connection.sendall(b"fast")
            return
        while True:
            connection.sendall(b"p" * MIB)

    with serve(pour) as target:
        way = Forwarding(*pair, target).make()
        with way.visit() as slow:
            slow.sendall(b"p")

            def sent() -> int:
                carriers = way.far.config()["tunnels"]["t"]["carriers"]
                return sum(carrier["bytes_sent"] for carrier in carriers)

            # It is poured until the window is full, and then the target is held up.
            counts: deque[int] = deque(maxlen=20)

            def stands_still() -> bool:
                counts.append(sent())
                return len(counts) == counts.maxlen and len(set(counts)) == 1

            until(stands_still, "the target to be held up")
            assert 0 < counts[-1] < 32 * MIB
            for _ in range(20):
                with way.visit() as fast:
                    fast.sendall(b"f")
                    assert read_all(fast) == b"fast"


def test_many_streams_at_once(pair: tuple[Node, Node]) -> None:
    def descriptors() -> list[int]:
        pids = [node.gateway.process.pid for node in pair if node.gateway.process is not None]
        return [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids]

    with serve(echo) as target:
        way = Forwarding(*pair, target).make()
        carriers = way.near.config
        until(lambda: len(carriers()["tunnels"]["t"]["carriers"]) == 2, "both carriers")
        before = descriptors()
        visitors = [way.visit() for _ in range(100)]
        assert all(talks(visitor, b"%d" % number) for number, visitor in enumerate(visitors))
        for visitor in visitors:
            visitor.close()

        def is_idle() -> bool:
            return all(node.config()["connections"]["t"]["serving"] == 0 for node in pair)

        until(is_idle, "all streams to end at both ends")
        # A few pipes may be kept for the next sessions.
        until(lambda: max(map(sub, descriptors(), before)) < 20, "descriptors to be closed")


def test_200_services_share_a_tunnel(pair: tuple[Node, Node]) -> None:
    a, b = pair
    with serve(tagged("here")) as target:
        way = Forwarding(a, b, target)
        way.tunnel()
        ports = {}
        for number in range(200):
            name = f"s{number}"
            added = a.post("/service", name=name, type="local", addr=["127.0.0.1", 0])
            ports[name] = added.json()["port"]
            b.post("/service", name=name, type="remote", addr=["127.0.0.1", target])
            for node, kind in ((a, "local"), (b, "remote")):
                assert node.post("/bind", tunnel="t", service=name, type=kind).json()["changed"]
        for port in ports.values():
            with connect(port) as visitor:
                assert read_all(visitor) == b"here"
