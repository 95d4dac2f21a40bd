"""Streams of a tunnel: ends, resets, and many at once."""

from __future__ import annotations

import socket
from operator import sub
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.clients import is_reset, read_all, reset
from tests.harness.forwarding import Forwarding, talks
from tests.harness.servers import accept, echo, listen, port_of, serve
from tests.harness.waiting import until

if TYPE_CHECKING:
    from tests.harness.tunnels import Node


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
