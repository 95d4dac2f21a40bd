"""A gateway that stands still for a while: asleep with its machine, or busy in Python."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.harness.clients import connect, is_reset
from tests.harness.forwarding import Forwarding, talks
from tests.harness.servers import echo, serve
from tests.harness.tunnels import Node, configure, new_secret, reload, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HEARTBEAT_S = 1.0
LIMIT_S = 4 * HEARTBEAT_S + 1
"""Three heartbeats without an answer after one of silence, and a second for a busy machine."""
FAST = "heartbeat 1s; handshake_timeout 1s;"
BUSY_S = 2.0
BUSY = f"""
stream {{
    server {{
        listen 127.0.0.1:@busy;
        content_by_python_block {{
            import time
            session.writer.write(b"busy")
            await session.writer.drain()
            time.sleep({BUSY_S})
        }}
    }}
}}
"""


@pytest.fixture
def own_pair(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Give two gateways that notice soon what is wrong."""
    secret = new_secret()
    a, b = (start_node(tmp_path / name, name, secret, FAST) for name in "ab")
    yield a, b
    stop_node(a)
    stop_node(b)


@contextmanager
def asleep(node: Node) -> Iterator[Callable[[], None]]:
    """Have a gateway stand still until it is woken."""
    node.gateway.signal(signal.SIGSTOP)
    try:
        yield lambda: node.gateway.signal(signal.SIGCONT)
    finally:
        node.gateway.signal(signal.SIGCONT)


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def is_up(node: Node) -> bool:
    return node.state_of("t") == "up"


def test_an_acceptor_that_sleeps_is_noticed_and_dialled_until_it_wakes(
    own_pair: tuple[Node, Node],
) -> None:
    a, b = own_pair
    with serve(echo) as target:
        way = Forwarding(a, b, target).make()
        with way.visit() as visitor:
            assert talks(visitor)
            with asleep(b) as wake:
                assert seconds(lambda: is_reset(visitor)) < LIMIT_S
                until(lambda: a.state_of("t") == "reconnecting", "the loss")
                wake()
                # One attempt has 1 s, and the pauses have grown no further by now.
                assert seconds(lambda: until(lambda: is_up(a), "the tunnel")) < 4
        assert way.is_served()
        until(lambda: b.config()["connections"]["t"]["serving"] == 0, "the end of old streams")


def test_a_dialler_that_sleeps_is_missed_and_comes_back_by_itself(
    own_pair: tuple[Node, Node],
) -> None:
    a, b = own_pair
    with serve(echo) as target:
        way = Forwarding(a, b, target).make()
        with way.visit() as visitor:
            assert talks(visitor)
            with asleep(a) as wake:
                assert seconds(lambda: until(lambda: not is_up(b), "the silence")) < LIMIT_S
                assert b.config()["connections"].get("t", {"serving": 0})["serving"] == 0
                wake()
                assert seconds(lambda: is_reset(visitor)) < HEARTBEAT_S
                assert seconds(lambda: until(lambda: is_up(a), "the tunnel")) < 2
        assert way.is_served()


def test_a_short_sleep_breaks_nothing(own_pair: tuple[Node, Node]) -> None:
    with serve(echo) as target:
        way = Forwarding(*own_pair, target).make()
        with way.visit() as visitor:
            assert talks(visitor)
            for node in own_pair:
                with asleep(node):
                    time.sleep(2 * HEARTBEAT_S)
                assert talks(visitor)


def test_a_heartbeat_that_is_shortened_counts_for_carriers_that_are_up(tmp_path: Path) -> None:
    secret = new_secret()
    a, b = (start_node(tmp_path / name, name, secret, "heartbeat 1h;") for name in "ab")
    with serve(echo) as target:
        way = Forwarding(a, b, target).make()
        with way.visit() as visitor:
            assert talks(visitor)
            configure(a.gateway, "a", secret, FAST)
            assert "reconfigured" in reload(a)
            assert talks(visitor)
            with asleep(b):
                assert seconds(lambda: is_reset(visitor)) < LIMIT_S
    stop_node(a)
    stop_node(b)


def test_streams_go_on_while_python_is_busy(tmp_path: Path) -> None:
    secret = new_secret()
    a = start_node(tmp_path / "a", "a", secret)
    b = start_node(tmp_path / "b", "b", secret, rest=BUSY)
    with serve(echo) as target:
        way = Forwarding(a, b, target).make()
        with way.visit() as visitor, connect(b.gateway.port("busy")) as other:
            assert talks(visitor)
            assert other.recv(4) == b"busy"
            began = time.monotonic()
            # The API of `b` does not answer now; streams do, and new ones are opened.
            with pytest.raises(httpx.TimeoutException):
                b.client.get("/config", timeout=BUSY_S / 4)
            turns = 0
            while time.monotonic() < began + BUSY_S / 2:
                assert talks(visitor)
                assert way.is_served()
                turns += 1
            assert turns > 10
    stop_node(a)
    stop_node(b)
