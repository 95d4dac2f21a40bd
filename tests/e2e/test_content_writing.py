"""Content handlers write, close and work in several tasks as with asyncio's streams."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, connect, is_reset, read_all, read_exactly, reset
from tests.harness.gateway import Gateway
from tests.harness.handlers import write_module
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = r"""
import asyncio

from qanat.handlers import PhaseError

HELD = []


def plain(session):
    session.writer.write(b"plain\n")


async def order(session):
    session.writer.write(b"one ")
    session.writer.writelines([b"two ", bytearray(b"three "), memoryview(b"four")])
    session.writer.write(b"")
    for wrong in ("text", 7, None, ["text"]):
        try:
            session.writer.write(wrong)
        except TypeError:
            session.writer.write(b".")


async def after_eof(session):
    assert session.writer.can_write_eof() and not session.writer.is_closing()
    session.writer.write(b"last\n")
    session.writer.write_eof()
    session.writer.write_eof()
    try:
        session.writer.write(b"more")
    except RuntimeError as error:
        session.ctx.refused = str(error)
    # The client's direction goes on.
    session.vars["note"] = await session.reader.read()


async def flood(session):
    for _ in range(64):
        session.writer.write(b"z" * 65536)
        await session.writer.drain()
    session.vars["note"] = "drained"


async def careless(session):
    try:
        while True:
            session.writer.write(b"z" * 1_000_000)
    except BufferError:
        session.vars["note"] = "refused"
    session.reject(200)


async def closes(session):
    session.writer.write(b"bye\n")
    session.writer.close()
    assert session.writer.is_closing()
    assert await session.reader.read() == b""
    await session.writer.wait_closed()
    session.vars["note"] = "closed"


async def lingers(session):
    session.writer.write(b"bye\n")
    await session.close(linger=0.05)
    session.vars["note"] = "closed"


async def rejects(session):
    session.writer.write(b"written\n")
    session.reject(418, b"rejected\n")


async def duplex(session):
    async def shout():
        while line := await session.reader.readline():
            session.writer.write(line.upper())

    async def tick():
        for number in range(3):
            session.writer.write(b"%d\n" % number)
            await session.writer.drain()
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(shout())
        tasks.create_task(tick())
    session.writer.write(b"end\n")


async def times_out_while_writing(session):
    async def give_up():
        for _ in range(5):
            try:
                await asyncio.wait_for(session.reader.readexactly(1), 0.01)
            except TimeoutError:
                session.writer.write(b"t")

    await asyncio.gather(give_up(), flood(session))


async def task_fails(session):
    async def fail():
        raise LookupError("in a task")

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    try:
        await task
    except LookupError as error:
        session.writer.write(str(error).encode())


async def rejected_by_a_task(session):
    async def judge():
        session.reject(403, b"out\n")

    task = asyncio.create_task(judge())
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.gather(task, return_exceptions=True)


async def hold(session):
    HELD.append(session)
    session.writer.write(b"held\n")


async def use_held(session):
    other = HELD.pop()
    for attempt in (lambda: other.writer.write(b"x"), other.reader.at_eof, other.writer.write_eof):
        try:
            attempt()
        except PhaseError as error:
            session.writer.write(f"{error}\n".encode())
    session.writer.write(b"closing\n" if other.writer.is_closing() else b"open\n")


async def many_tasks(session):
    for _ in range(2000):
        task = asyncio.create_task(session.reader.readexactly(100))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    session.writer.write(await session.reader.readline())


async def about(session):
    peer, sock = (session.writer.get_extra_info(name) for name in ("peername", "sockname"))
    assert peer == session.client and sock == session.server
    assert session.writer.get_extra_info("nothing", 5) == 5
    session.writer.write(f"{peer[0]} {sock[1]} {session.id > 0} {session.phase}".encode())


def remember(record):
    record.vars["note"] = record.vars.get("note") + getattr(record.ctx, "refused", "")
"""
NAMES = (
    *("plain", "order", "after_eof", "flood", "careless", "closes", "lingers", "rejects", "duplex"),
    *("times_out_while_writing", "task_fails", "rejected_by_a_task", "hold", "use_held"),
    *("many_tasks", "about"),
)
SERVERS = "".join(
    f'server {{ listen 127.0.0.1:@{name}; set $note ""; content_by_python app:{name}; }}\n'
    for name in NAMES
)
CONFIG = f"""
stream {{
    python_path ../py;
    log_format all '$server_port $status $bytes_received $bytes_sent "$note"';
    access_log logs/access.log all;
    log_by_python app:remember;
    {SERVERS}
    server {{ listen 127.0.0.1:@block;
        content_by_python_block {{
            line = await session.reader.readline()
            session.writer.write(line[::-1])
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("content"))
    write_module(gateway, "app", MODULE)
    gateway.write(CONFIG)
    gateway.start()
    yield gateway
    gateway.close()


def logged(gateway: Gateway, name: str) -> str:
    """Wait for the access log's line of a server; return what follows the port."""
    port = f"{gateway.port(name)} "

    def find() -> str | None:
        lines = gateway.log_lines(0)
        return next((line.removeprefix(port) for line in lines if line.startswith(port)), None)

    return until(find, f"a line of {name}")


@pytest.mark.parametrize(
    ("name", "data", "answer"),
    [
        ("plain", b"", b"plain\n"),
        ("order", b"", b"one two three four...."),
        ("task_fails", b"", b"in a task"),
        ("block", b"abc\n", b"\ncba"),
        ("many_tasks", b"still here\n", b"still here\n"),
    ],
)
def test_what_is_written_is_sent_and_the_connection_closed(
    running: Gateway, name: str, data: bytes, answer: bytes
) -> None:
    assert ask(running.port(name), data) == answer


def test_a_session_knows_its_ends(running: Gateway) -> None:
    port = running.port("about")
    assert ask(port).decode() == f"127.0.0.1 {port} True content"


def test_a_direction_that_has_ended_takes_no_more(running: Gateway) -> None:
    with connect(running.port("after_eof")) as client:
        assert read_all(client) == b"last\n"
        client.sendall(b"still listening")
        client.shutdown(socket.SHUT_WR)
        refused = "Cannot call write() after write_eof() or close()"
        assert logged(running, "after_eof") == f'200 15 5 "still listening{refused}"'


def test_draining_waits_for_a_slow_client(running: Gateway) -> None:
    with connect(running.port("flood")) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert read_exactly(client, 1000) == b"z" * 1000
        port = f"{running.port('flood')} "
        assert not any(line.startswith(port) for line in running.log_lines(0))
        assert len(read_all(client)) == 64 * 65536 - 1000
    assert logged(running, "flood") == f'200 0 {64 * 65536} "drained"'


def test_what_nobody_drains_is_bounded(running: Gateway) -> None:
    with connect(running.port("careless")) as client:
        assert 16_000_000 < len(read_all(client)) < 24_000_000
    assert logged(running, "careless").endswith('"refused"')


@pytest.mark.parametrize("name", ["closes", "lingers"])
def test_a_client_that_is_still_sending_gets_everything_and_no_reset(
    running: Gateway, name: str
) -> None:
    with connect(running.port(name)) as client:
        client.sendall(b"unread " * 1000)
        assert read_all(client) == b"bye\n"
        client.sendall(b"late " * 1000)
        client.shutdown(socket.SHUT_WR)
        assert not is_reset(client)
    assert logged(running, name).endswith('4 "closed"')


def test_the_same_when_the_handler_just_returns(running: Gateway) -> None:
    with connect(running.port("plain")) as client:
        client.sendall(b"unread " * 1000)
        assert read_all(client) == b"plain\n"
        client.sendall(b"late " * 1000)
        client.shutdown(socket.SHUT_WR)
        assert not is_reset(client)


def test_a_rejection_follows_what_was_written(running: Gateway) -> None:
    assert ask(running.port("rejects")) == b"written\nrejected\n"
    assert logged(running, "rejects") == '418 0 17 ""'


def test_reader_and_writer_belong_to_two_tasks(running: Gateway) -> None:
    with connect(running.port("duplex")) as client:
        assert read_exactly(client, 6) == b"0\n1\n2\n"
        client.sendall(b"hey\n")
        assert read_exactly(client, 4) == b"HEY\n"
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"end\n"


def test_a_read_that_times_out_leaves_writing_alone(running: Gateway) -> None:
    received = ask(running.port("times_out_while_writing"))
    assert received.count(b"z") == 64 * 65536
    assert received.count(b"t") == 5


def test_a_task_may_reject_for_the_handler(running: Gateway) -> None:
    assert ask(running.port("rejected_by_a_task")) == b"out\n"
    assert logged(running, "rejected_by_a_task") == '403 0 4 ""'


def test_a_session_that_has_ended_cannot_be_used(running: Gateway) -> None:
    assert ask(running.port("hold")) == b"held\n"
    answer = ask(running.port("use_held"))
    assert answer == b"the content phase is over\n" * 3 + b"closing\n"


def test_a_reset_during_the_last_words_harms_nobody(running: Gateway) -> None:
    with connect(running.port("lingers")) as client:
        assert read_exactly(client, 4) == b"bye\n"
        reset(client)
    assert ask(running.port("plain")) == b"plain\n"
