"""What asyncio knows of the task of a handler, before and after its first suspension."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, connect, read_exactly
from tests.harness.handlers import write_module
from tests.harness.servers import echo, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway

MODULE = """
import asyncio
import sys
from contextvars import ContextVar

device = ContextVar("device", default="none")


async def same(session):
    before = asyncio.current_task()
    await asyncio.sleep(0)
    session.reject(200, b"same" if asyncio.current_task() is before else b"other")


async def over_at_once(session):
    try:
        async with asyncio.timeout(0):
            asyncio.current_task().cancel()
            await asyncio.Event().wait()
    except (TimeoutError, asyncio.CancelledError) as error:
        asyncio.current_task().uncancel()
        session.reject(200, type(error).__name__.encode())


def cancels(session):
    asyncio.current_task().cancel()


async def child_exits(session):
    async def child():
        raise SystemExit(3)

    try:
        await asyncio.create_task(child())
    except (SystemExit, asyncio.CancelledError):
        session.reject(200, b"outlived")


async def callback_exits(session):
    asyncio.get_running_loop().call_soon(sys.exit, 3)
    await asyncio.sleep(0)
    session.reject(200, b"outlived")


async def stops_the_loop(session):
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)
    session.reject(200, b"outlived")


async def content_exits(session):
    session.writer.write(b"outlived")
    await asyncio.sleep(0)
    raise KeyboardInterrupt


async def own_context(session):
    seen = device.get()
    device.set("mine")
    await asyncio.sleep(0)
    session.reject(200, f"{seen} {device.get()}".encode())


async def hesitant(session):
    try:
        async with asyncio.timeout(0.05):
            await session.peek(1)
    except TimeoutError:
        session.reject(200, b"silent")
    session.reject(200, b"spoken")
"""

CONFIG = """
stream {
    python_path ../py;
    server { listen 127.0.0.1:@same; preread_by_python app:same; return ""; }
    server { listen 127.0.0.1:@over; preread_by_python app:over_at_once; return ""; }
    server { listen 127.0.0.1:@cancels; preread_by_python app:cancels;
        proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@child_exits; preread_by_python app:child_exits; return ""; }
    server { listen 127.0.0.1:@callback_exits; preread_by_python app:callback_exits; return ""; }
    server { listen 127.0.0.1:@stops; preread_by_python app:stops_the_loop; return ""; }
    server { listen 127.0.0.1:@content_exits; content_by_python app:content_exits; }
    server { listen 127.0.0.1:@context; preread_by_python app:own_context; return ""; }
    server { listen 127.0.0.1:@hesitant; preread_by_python app:hesitant; return ""; }
}
"""


@pytest.fixture
def running(gateway: Gateway) -> Iterator[Gateway]:
    write_module(gateway, "app", MODULE)
    with serve(echo) as peer:
        gateway.write(CONFIG, peer=peer)
        yield gateway.start()


def test_a_handler_stays_in_its_task(running: Gateway) -> None:
    for _ in range(3):
        assert ask(running.port("same")) == b"same"


def test_a_cancellation_before_the_first_suspension_is_seen(running: Gateway) -> None:
    assert ask(running.port("over")) == b"CancelledError"


def test_a_handler_that_cancels_its_task_harms_no_other(running: Gateway) -> None:
    clients = [connect(running.port("cancels")) for _ in range(20)]
    for client in clients:
        client.sendall(b"x")
    for client in clients:
        assert read_exactly(client, 1) == b"x"
        client.close()
    assert ask(running.port("same")) == b"same"


@pytest.mark.parametrize("name", ["child_exits", "callback_exits", "stops", "content_exits"])
def test_what_stops_the_event_loop_ends_no_gateway(running: Gateway, name: str) -> None:
    """Tasks and callbacks of handlers raise `SystemExit` out of the loop; it goes on for all."""
    with connect(running.port("cancels")) as other:
        other.sendall(b"x")
        assert read_exactly(other, 1) == b"x"
        for _ in range(3):
            assert ask(running.port(name)) == b"outlived"
        assert ask(running.port("same")) == b"same"
        other.sendall(b"y")
        assert read_exactly(other, 1) == b"y"
    assert running.stderr().count("the event loop was stopped by a handler and goes on") >= 3
    running.stop()


def test_context_variables_are_those_of_one_session(running: Gateway) -> None:
    for _ in range(3):
        assert ask(running.port("context")) == b"none mine"


def test_handlers_that_begin_with_a_look_are_called_for_silent_clients_too(
    running: Gateway,
) -> None:
    for _ in range(3):
        with connect(running.port("hesitant")) as client:
            assert read_exactly(client, 6) == b"silent"
        assert ask(running.port("hesitant"), b"x") == b"spoken"
