"""A stream whose target has not answered yet, while what it needs is taken away."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import is_reset, reset
from tests.harness.forwarding import Forwarding
from tests.harness.servers import port_of
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.harness.tunnels import Node


@contextmanager
def silent_target() -> Iterator[int]:
    """Have a port that answers no attempt to connect: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield port_of(listener)


@pytest.fixture
def way(pair: tuple[Node, Node]) -> Iterator[Forwarding]:
    """Give a service whose target leaves everybody waiting."""
    with silent_target() as target:
        way = Forwarding(*pair, target)
        way.make(without="remote")
        assert way.remote(timeout=30_000).status_code == 200
        yield way


def serving(way: Forwarding) -> list[int]:
    """Count the streams at both ends, as each of them sees it."""
    counts = []
    for node in (way.near, way.far):
        seen = node.config()
        carriers = seen["tunnels"].get("t", {}).get("carriers", ())
        counts.append(sum(carrier["streams"] for carrier in carriers))
        counts.append(seen["connections"].get("t", {"serving": 0})["serving"])
    return counts


def waiting_visitor(way: Forwarding) -> socket.socket:
    """Come as a visitor; return once the far side waits for the target."""
    visitor = way.visit()
    visitor.sendall(b"hello")
    until(lambda: serving(way) == [1, 0, 1, 1], "the stream to be opened")
    return visitor


REMOVALS: dict[str, Callable[[Forwarding], object]] = {
    "the tunnel, where it is dialled": lambda way: way.near.delete("/tunnel", name="t"),
    "the tunnel, where it arrives": lambda way: way.far.delete("/tunnel", name="t"),
    "the remote service": lambda way: way.far.delete(
        "/service", "?streams=reset", name="s", type="remote"
    ),
    "the local service": lambda way: way.near.delete(
        "/service", "?streams=reset", name="s", type="local"
    ),
    "the remote binding": lambda way: way.far.delete(
        "/bind", "?streams=reset", tunnel="t", service="s", type="remote"
    ),
    "the local binding": lambda way: way.near.delete(
        "/bind", "?streams=reset", tunnel="t", service="s", type="local"
    ),
}


@pytest.mark.parametrize("removed", REMOVALS)
def test_a_visitor_is_reset_when_its_way_is_removed(way: Forwarding, removed: str) -> None:
    with waiting_visitor(way) as visitor:
        began = time.monotonic()
        REMOVALS[removed](way)
        assert is_reset(visitor)
        assert time.monotonic() - began < 1
    until(lambda: not any(serving(way)), "no stream to be left at either end")


def test_a_visitor_that_leaves_leaves_nothing_behind(way: Forwarding) -> None:
    reset(waiting_visitor(way))
    until(lambda: not any(serving(way)), "no stream to be left at either end")
