"""How sessions with content handlers end when it is not the handler that ends them."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, connect, read_all, read_exactly, reset
from tests.harness.gateway import StartError
from tests.harness.handlers import write_module

if TYPE_CHECKING:
    from tests.harness.gateway import Gateway

MODULE = r"""
import asyncio


async def fails(session):
    session.writer.write(b"so far\n")
    await session.reader.readline()
    raise LookupError("no such thing")


def fails_at_once(session):
    raise LookupError("at once")


async def reads(session):
    session.writer.write(b"ready\n")
    await session.reader.readexactly(100)


async def sleeps(session):
    session.writer.write(b"ready\n")
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        session.ctx.cancelled = "yes"
        session.writer.write(b"sorry\n")
        raise


async def stubborn(session):
    session.writer.write(b"ready\n")
    for _ in range(3):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass


async def writes_for_ever(session):
    while True:
        session.writer.write(b"w" * 10_000)
        await session.writer.drain()


async def echo(session):
    async for line in session.reader:
        session.writer.write(line)


def note(record):
    record.vars["note"] = getattr(record.ctx, "cancelled", "no")
"""
NAMES = ("fails", "fails_at_once", "reads", "sleeps", "stubborn", "writes_for_ever", "echo")
SERVERS = "".join(
    f'server {{ listen 127.0.0.1:@{name}; set $note ""; content_by_python app:{name}; }}\n'
    for name in NAMES
)
CONFIG = f"""
stream {{
    python_path ../py;
    log_format ends '$status $bytes_sent $note';
    access_log logs/access.log ends;
    log_by_python app:note;
    python_timeout 50ms;
    @more
    {SERVERS}
}}
"""


@pytest.fixture
def running(gateway: Gateway) -> Gateway:
    write_module(gateway, "app", MODULE)
    gateway.write(CONFIG, more="")
    return gateway.start()


def test_a_handler_that_fails(running: Gateway) -> None:
    """Status 500, a line that says where, and the client has what was written before."""
    assert ask(running.port("fails"), b"go\n") == b"so far\n"
    assert running.log_lines(1) == ["500 7 no"]
    line = running.wait_for_log("no such thing")
    assert "content handler app:fails failed: LookupError: no such thing at app.py:" in line
    assert "while running the content handler" in line
    assert ask(running.port("fails_at_once")) == b""
    running.wait_for_log("content handler app:fails_at_once failed: LookupError: at once")


def test_a_client_that_ends_early_is_not_a_failure(running: Gateway) -> None:
    with connect(running.port("reads")) as client:
        client.sendall(b"too few")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"ready\n"
    assert running.log_lines(1) == ["200 6 no"]
    assert "failed" not in running.error_log()


@pytest.mark.parametrize(("name", "note"), [("sleeps", "yes"), ("reads", "no")])
def test_a_client_that_resets_cancels_the_handler(running: Gateway, name: str, note: str) -> None:
    with connect(running.port(name)) as client:
        assert read_exactly(client, 6) == b"ready\n"
        reset(client)
    assert running.log_lines(1) == [f"499 6 {note}"]
    running.wait_for_log("client disconnected")
    assert "failed" not in running.error_log()


def test_a_client_that_leaves_while_it_is_sent_to(running: Gateway) -> None:
    with connect(running.port("writes_for_ever")) as client:
        read_exactly(client, 100_000)
        reset(client)
    [line] = running.log_lines(1)
    assert line.startswith("499 ")


def test_the_end_of_one_direction_is_no_leaving(running: Gateway) -> None:
    with connect(running.port("sleeps")) as client:
        client.shutdown(socket.SHUT_WR)
        assert read_exactly(client, 6) == b"ready\n"
        running.signal(signal.SIGTERM)
        assert read_all(client) == b"sorry\n"


def test_a_stubborn_handler_is_left_to_itself(running: Gateway) -> None:
    with connect(running.port("stubborn")) as client:
        assert read_exactly(client, 6) == b"ready\n"
        reset(client)
    assert running.log_lines(1) == ["499 6 no"]
    assert ask_line(running.port("echo")) == b"line\n"


def test_python_timeout_does_not_count_but_silence_does(gateway: Gateway) -> None:
    write_module(gateway, "app", MODULE)
    gateway.write(CONFIG, more="proxy_timeout 300ms;")
    gateway.start()
    with connect(gateway.port("sleeps")) as client:
        assert read_all(client) == b"ready\nsorry\n"
    assert gateway.log_lines(1) == ["200 12 yes"]
    gateway.wait_for_log("connection timed out")
    with connect(gateway.port("echo")) as client:
        # Together these take longer than the silence that is allowed, each of them less.
        for _ in range(5):
            client.sendall(b"still here\n")
            assert read_exactly(client, 11) == b"still here\n"
            with pytest.raises(TimeoutError):
                client.settimeout(0.1)
                client.recv(1)
            client.settimeout(10)


def test_a_stop_gives_handlers_a_moment_for_last_words(running: Gateway) -> None:
    with connect(running.port("sleeps")) as client, connect(running.port("stubborn")) as other:
        assert read_exactly(client, 6) == b"ready\n"
        assert read_exactly(other, 6) == b"ready\n"
        running.signal(signal.SIGTERM)
        assert read_all(client) == b"sorry\n"
        assert running.wait() == 0
    assert sorted(line[:6].rstrip() for line in running.log_lines(2)) == ["200 12", "200 6"]


def test_a_drain_waits_for_content_as_for_any_session(gateway: Gateway) -> None:
    write_module(gateway, "app", MODULE)
    gateway.write(CONFIG, more="")
    gateway.start()
    with connect(gateway.port("echo")) as client:
        client.sendall(b"one\n")
        assert read_exactly(client, 4) == b"one\n"
        gateway.signal(signal.SIGQUIT)
        gateway.wait_for_log("gracefully shutting down")
        client.sendall(b"two\n")
        assert read_exactly(client, 4) == b"two\n"
    assert gateway.wait() == 0


def test_a_drain_that_takes_too_long_cancels_handlers(gateway: Gateway) -> None:
    write_module(gateway, "app", MODULE)
    main = "error_log logs/error.log info; pid logs/q.pid; worker_shutdown_timeout 100ms; events {}"
    gateway.write(CONFIG, main=main, more="")
    gateway.start()
    with connect(gateway.port("sleeps")) as client:
        assert read_exactly(client, 6) == b"ready\n"
        gateway.signal(signal.SIGQUIT)
        assert read_all(client) == b"sorry\n"
    assert gateway.wait() == 0


def test_new_code_does_not_touch_old_sessions(running: Gateway) -> None:
    with connect(running.port("echo")) as old:
        old.sendall(b"before\n")
        assert read_exactly(old, 7) == b"before\n"
        write_module(running, "app", MODULE.replace("writer.write(line)", "writer.write(b'new')"))
        running.signal(signal.SIGHUP)
        running.wait_for_log("reconfigured")
        old.sendall(b"after\n")
        assert read_exactly(old, 6) == b"after\n"
        assert ask_line(running.port("echo")) == b"new"


def ask_line(port: int) -> bytes:
    with connect(port) as client:
        client.sendall(b"line\n")
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


@pytest.mark.parametrize(
    ("server", "message"),
    [
        (
            'listen 127.0.0.1:1; content_by_python app:echo; return "x";',
            'either "content_by_python" or "return", not both',
        ),
        (
            "listen 127.0.0.1:1; proxy_pass 127.0.0.1:2; content_by_python app:echo;",
            'either "content_by_python" or "proxy_pass", not both',
        ),
        (
            "listen 127.0.0.1:1; content_by_python app:echo; content_by_python_block { pass }",
            "directive is duplicate",
        ),
    ],
)
def test_what_excludes_what(gateway: Gateway, server: str, message: str) -> None:
    gateway.expected_alarms = ["emerg"]
    write_module(gateway, "app", MODULE)
    gateway.write(f"stream {{ python_path ../py; server {{ {server} }} }}")
    with pytest.raises(StartError) as refused:
        gateway.start()
    assert message in str(refused.value)
    assert "qanat.conf:" in str(refused.value)
