"""What a handler that fails, hangs or is slow does to its session, and not to others."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, connect, read_all, reset
from tests.harness.gateway import StartError
from tests.harness.handlers import write_module
from tests.harness.servers import echo, serve, tagged_after_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway

MODULE = """
import asyncio
import sys
import time
from pathlib import Path


def inner():
    raise ValueError("bad luck")


def raises(session):
    inner()


async def raises_later(session):
    await asyncio.sleep(0)
    inner()


def exits(session):
    sys.exit(3)


class Speechless(Exception):
    def __str__(self):
        sys.exit(4)


def speechless(session):
    raise Speechless


async def never_begun(session):
    yield session.reject(403)


def not_awaited(session):
    return asyncio.ensure_future(asyncio.sleep(0))


async def hangs(session):
    await asyncio.Event().wait()


async def stubborn(session):
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass


def blocks(session):
    time.sleep(1.5)


async def slow(session):
    await asyncio.sleep(0.5)


async def cancelled(session):
    await session.write(b"waiting")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        Path(MARK).write_text("cancelled")
        raise


async def in_a_group(session):
    async with asyncio.timeout(1), asyncio.TaskGroup() as group:
        one = group.create_task(asyncio.sleep(0, "one"))
        two = group.create_task(session.peek(3))
    session.reject(200, one.result().encode() + two.result())


def bad_log(record):
    inner()


def late(record):
    record.vars["who"] = "late"
"""

CONFIG = """
stream {
    python_path ../py;
    python_timeout 200ms;
    log_format status '$status';
    access_log logs/access.log status;
    server { listen 127.0.0.1:@plain; proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@raises; access_by_python app:raises; return no; }
    server { listen 127.0.0.1:@raises_later; preread_by_python app:raises_later; return no; }
    server { listen 127.0.0.1:@exits; access_by_python app:exits; return no; }
    server { listen 127.0.0.1:@speechless; access_by_python app:speechless; return no; }
    server { listen 127.0.0.1:@never_begun; access_by_python app:never_begun; return no; }
    server { listen 127.0.0.1:@not_awaited; content_by_python app:not_awaited; }
    server { listen 127.0.0.1:@hangs; preread_by_python app:hangs; return no; }
    server { listen 127.0.0.1:@stubborn; access_by_python app:stubborn; return no; }
    server { listen 127.0.0.1:@blocks; access_by_python app:blocks; return no; }
    server { listen 127.0.0.1:@slow; python_timeout 5s; preread_by_python app:slow; return slow; }
    server { listen 127.0.0.1:@cancelled; python_timeout 5s; preread_by_python app:cancelled;
        return no; }
    server { listen 127.0.0.1:@group; preread_by_python app:in_a_group; return no; }
    server { listen 127.0.0.1:@bad_log; log_by_python app:bad_log; return yes; }
    upstream hanging { server 127.0.0.1:@peer; balance_by_python app:hangs; }
    server { listen 127.0.0.1:@hanging; proxy_pass hanging; }
    server { listen 127.0.0.1:@fused; preread_by_python_block { pass } proxy_pass hanging; }
}
"""


@pytest.fixture
def running(gateway: Gateway) -> Iterator[Gateway]:
    mark = f"MARK = {str(gateway.prefix / 'mark')!r}\n"
    write_module(gateway, "app", mark + MODULE)
    with serve(echo) as peer:
        gateway.write(CONFIG, peer=peer)
        yield gateway.start()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "raises",
            r"access handler app:raises failed: ValueError: bad luck at app\.py:\d+ in inner, "
            r"called at app\.py:\d+ in raises while running access handlers, client: 127\.0\.0\.1",
        ),
        (
            "raises_later",
            r"preread handler app:raises_later failed: ValueError: bad luck at app\.py:\d+",
        ),
        ("exits", r"access handler app:exits failed: SystemExit: 3 at app\.py"),
        (
            "speechless",
            r"app:speechless failed: Speechless: \(saying why raised SystemExit\) at app\.py",
        ),
        (
            "never_begun",
            "access handler app:never_begun returned async_generator instead of nothing, "
            "and nobody runs it",
        ),
        ("not_awaited", "content handler app:not_awaited returned Task instead of nothing"),
        (
            "hangs",
            r"preread handler app:hangs did not end in time, waiting at "
            r"locks\.py:\d+ in wait, called at app\.py:\d+ in hangs",
        ),
        ("hanging", "balance handler app:hangs did not end in time"),
        ("fused", "balance handler app:hangs did not end in time"),
    ],
)
def test_a_failure_ends_its_session_with_one_line(running: Gateway, name: str, line: str) -> None:
    assert ask(running.port(name)) == b""
    assert running.log_lines(1) == ["500"]
    running.wait_for_log(rf"\[error\].*{line}")
    assert running.error_log().count("[error]") == 1


def test_a_handler_that_does_not_end_when_told_is_left_behind(running: Gateway) -> None:
    assert ask(running.port("stubborn")) == b""
    running.wait_for_log("access handler app:stubborn did not end in time")
    assert running.log_lines(1) == ["500"]
    assert ask(running.port("raises")) == b""


def test_a_handler_that_blocks_is_given_up_without_python(running: Gateway) -> None:
    begun = time.monotonic()
    assert ask(running.port("blocks")) == b""
    assert time.monotonic() - begun < 1.4
    running.wait_for_log("access handler app:blocks did not end within 0.2 s: Python is busy")


def test_others_go_on_while_a_handler_blocks(running: Gateway) -> None:
    with connect(running.port("blocks")), connect(running.port("plain")) as plain:
        begun = time.monotonic()
        for _ in range(100):
            plain.sendall(b"ping")
            assert plain.recv(4) == b"ping"
        assert time.monotonic() - begun < 1.0


def test_a_slow_handler_keeps_nobody_else_waiting(running: Gateway) -> None:
    with connect(running.port("slow")) as slow:
        begun = time.monotonic()
        for _ in range(20):
            assert ask(running.port("group"), b"abc") == b"oneabc"
        assert time.monotonic() - begun < 0.5
        assert read_all(slow) == b"slow"


def test_a_client_that_leaves_cancels_its_handler(running: Gateway) -> None:
    with connect(running.port("cancelled")) as client:
        assert client.recv(7) == b"waiting"
    assert running.log_lines(1) == ["499"]
    assert (running.prefix / "mark").read_text() == "cancelled"


def test_a_client_that_resets_cancels_its_handler(running: Gateway) -> None:
    client = connect(running.port("cancelled"))
    assert client.recv(7) == b"waiting"
    client.sendall(b"unread")
    reset(client)
    assert running.log_lines(1) == ["499"]
    assert (running.prefix / "mark").read_text() == "cancelled"


def test_log_handlers_that_fail_change_nothing(running: Gateway) -> None:
    assert ask(running.port("bad_log")) == b"yes"
    assert running.log_lines(1) == ["200"]
    running.wait_for_log("log handler app:bad_log failed: ValueError: bad luck")


def test_waiting_for_the_client_is_not_the_handlers_time(gateway: Gateway) -> None:
    gateway.write(
        """
        stream {
            python_timeout 100ms;
            preread_timeout 5s;
            server { listen 127.0.0.1:@patient; return done;
                preread_by_python_block { await session.read_exactly(2) } }
        }
        """
    )
    gateway.start()
    with connect(gateway.port("patient")) as client:
        client.sendall(b"a")
        client.settimeout(0.4)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(5)
        client.sendall(b"b")
        assert read_all(client) == b"done"


@pytest.mark.parametrize(
    ("directive", "message"),
    [
        ("access_by_python nothing:here;", "cannot load access handler .*ModuleNotFoundError"),
        ("access_by_python app:missing;", "cannot load access handler .*AttributeError"),
        ("access_by_python app;", "wants MODULE:FUNCTION"),
        ("preread_by_python_block { if }", "invalid syntax in line"),
    ],
)
def test_a_handler_that_cannot_be_loaded_stops_the_start(
    gateway: Gateway, directive: str, message: str
) -> None:
    write_module(gateway, "app", "MARK = ''\n" + MODULE)
    gateway.write(
        "stream { python_path ../py; server { listen 127.0.0.1:@x; return y; "
        + directive.replace("@", "")
        + " } }"
    )
    gateway.expected_alarms.append("emerg")
    with pytest.raises(StartError, match=message):
        gateway.start()


def test_a_reload_brings_new_code_and_old_sessions_keep_theirs(gateway: Gateway) -> None:
    code = """
async def answer(session):
    await session.write(b"hello")
    name = await session.read_until(b"\\n")
    session.reject(200, VERSION + name)
"""
    write_module(gateway, "app", f"VERSION = b'one '\n{code}")
    gateway.write(
        """stream { python_path ../py;
        server { listen 127.0.0.1:@port; preread_by_python app:answer; return no; } }"""
    )
    gateway.start()
    with connect(gateway.port("port")) as old:
        assert old.recv(5) == b"hello"
        write_module(gateway, "app", f"VERSION = b'second '\n{code}")
        gateway.signal(signal.SIGHUP)
        gateway.wait_for_log("reconfigured")
        assert ask(gateway.port("port"), b"x\n") == b"hellosecond x\n"
        write_module(gateway, "app", "VERSION = \n")
        gateway.signal(signal.SIGHUP)
        gateway.expected_alarms.append("cannot load")
        gateway.wait_for_log("cannot load preread handler .*SyntaxError")
        assert ask(gateway.port("port"), b"x\n") == b"hellosecond x\n"
        old.sendall(b"y\n")
        assert read_all(old) == b"one y\n"


def test_ten_thousand_sessions_leave_nothing_behind(gateway: Gateway) -> None:
    def resident() -> int:
        assert gateway.process is not None
        statm = Path(f"/proc/{gateway.process.pid}/statm").read_text()
        return int(statm.split()[1]) * 4096

    def run(count: int) -> None:
        for _ in range(count):
            assert ask(gateway.port("every"), b"abc") == b"peer:abc"

    write_module(
        gateway,
        "app",
        """
def admit(session):
    session.ctx.big = bytearray(10_000)

async def look(session):
    assert await session.peek(3) == b"abc"

def choose(session):
    return PEER

def note(record):
    assert len(record.ctx.big) == 10_000
""",
    )
    with serve(tagged_after_request("peer")) as peer:
        gateway.write(
            """
            stream {
                python_path ../py;
                init_by_python_block { import app; app.PEER = "127.0.0.1:@peer" }
                access_by_python app:admit; log_by_python app:note;
                upstream one { balance_by_python app:choose; }
                server { listen 127.0.0.1:@every; preread_by_python app:look; proxy_pass one; }
            }
            """,
            peer=peer,
        )
        gateway.start()
        run(2_000)
        before = resident()
        run(10_000)
        assert resident() - before < 6_000_000
