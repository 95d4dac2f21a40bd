"""Preread handlers: looking, taking, answering, and what becomes of the bytes."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, connect, read_all, read_exactly
from tests.harness.handlers import write_module
from tests.harness.servers import echo, serve, tagged_after_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway

MODULE = """
import asyncio
import json
import struct

from qanat.handlers import ClientClosedError, ClientTimeoutError, BufferLimitError


async def frame(session):
    kind, version, wait, length = struct.unpack(">ccHH", await session.peek(6))
    body = json.loads((await session.peek(6 + length))[6:])
    session.ctx.devid = body["devid"]
    session.vars["devid"] = body["devid"]


async def greet(session):
    await session.write(b"hello\\n")
    name = await session.read_until(b"\\n")
    await session.write(b"welcome " + name)


async def prefix(session):
    assert await session.peek(2) == b"ab"
    assert await session.peek_until(b"d") == b"abcd"
    assert await session.read_exactly(2) == b"ab"
    assert await session.read(100)
    session.unread(b"cd")


async def polite(session):
    try:
        await session.peek(10)
    except ClientClosedError as error:
        session.reject(400, b"only " + error.partial)
    except ClientTimeoutError:
        session.reject(408, b"too slow")
    except BufferLimitError:
        session.reject(413, b"too much")


async def line(session):
    try:
        await session.read_until(b"\\n")
    except BufferLimitError:
        session.reject(413, b"too long")


async def impatient(session):
    try:
        async with asyncio.timeout(0.05):
            await session.peek(1)
    except TimeoutError:
        await session.write(b"go on then\\n")
    assert await session.read(2) == b"ok"


async def demanding(session):
    await session.peek(10)


def flood(session):
    session.reject(200, b"x" * 1_000_000)


async def stream_out(session):
    for _ in range(64):
        await session.write(b"y" * 65536)
    session.reject(200)


def forced(session):
    session.choose
"""

CONFIG = """
stream {
    python_path ../py;
    log_format handled '$status $bytes_received $bytes_sent "$devid"';
    access_log logs/access.log handled;
    preread_timeout 300ms;
    preread_buffer_size 32;
    server { listen 127.0.0.1:@frame; set $devid ""; preread_buffer_size 4k;
        preread_by_python app:frame; proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@greet; preread_by_python app:greet; proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@prefix; preread_by_python app:prefix; proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@polite; preread_by_python app:polite; proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@line; preread_by_python app:line; proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@demanding; preread_by_python app:demanding;
        proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@impatient; preread_by_python app:impatient;
        proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@flood; preread_by_python app:flood; proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@stream_out; preread_by_python app:stream_out;
        proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@forced; preread_by_python app:forced; proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@returns; preread_by_python app:greet; return "bye"; }
}
"""


@pytest.fixture
def running(gateway: Gateway) -> Iterator[Gateway]:
    write_module(gateway, "app", MODULE)
    with serve(echo) as peer:
        gateway.write(CONFIG, peer=peer)
        yield gateway.start()


def frame(devid: str, body: bytes = b"") -> bytes:
    text = b'{"devid": "%s"}' % devid.encode()
    return struct.pack(">ccHH", b"L", b"1", 30, len(text)) + text + body


def test_two_frames_in_one_segment_both_arrive(running: Gateway) -> None:
    both = frame("d-1") + frame("d-2")
    with connect(running.port("frame")) as client:
        client.sendall(both)
        assert read_exactly(client, len(both)) == both
    assert running.log_lines(1) == [f'200 {len(both)} {len(both)} "d-1"']


def test_a_frame_may_come_in_pieces(running: Gateway) -> None:
    whole = frame("d-3")
    with connect(running.port("frame")) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(whole)):
            client.sendall(whole[at : at + 1])
        assert read_exactly(client, len(whole)) == whole


def test_a_handler_speaks_before_any_byte_and_takes_what_it_reads(running: Gateway) -> None:
    with connect(running.port("greet")) as client:
        assert read_exactly(client, 6) == b"hello\n"
        client.sendall(b"anna\nrest")
        assert read_exactly(client, 13) == b"welcome anna\n"
        assert read_exactly(client, 4) == b"rest"


def test_content_follows_what_the_handler_wrote(running: Gateway) -> None:
    assert ask(running.port("returns"), b"anna\n") == b"hello\nwelcome anna\nbye"


def test_what_is_given_back_reaches_the_peer(running: Gateway) -> None:
    with connect(running.port("prefix")) as client:
        client.sendall(b"abcdef")
        answer = read_exactly(client, 2)
        assert answer == b"cd"


def test_a_client_that_ends_early_can_still_be_answered(running: Gateway) -> None:
    with connect(running.port("polite")) as client:
        client.sendall(b"abc")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"only abc"
    assert running.log_lines(1)[0].startswith("400 3 8")


def test_a_silent_client_can_still_be_answered(running: Gateway) -> None:
    with connect(running.port("polite")) as client:
        assert read_all(client) == b"too slow"
    assert running.log_lines(1)[0].startswith("408 0 8")


def test_a_full_buffer_can_still_be_answered(running: Gateway) -> None:
    assert ask(running.port("line"), b"x" * 40) == b"too long"
    assert running.log_lines(1)[0].startswith("413 ")


@pytest.mark.parametrize(
    ("sent", "ends", "status"), [(b"abc", True, "200"), (b"abc", False, "200")]
)
def test_a_client_is_no_error_of_the_handler(
    running: Gateway, sent: bytes, ends: bool, status: str
) -> None:
    with connect(running.port("demanding")) as client:
        client.sendall(sent)
        if ends:
            client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
    assert running.log_lines(1)[0].startswith(f"{status} 3 0")
    assert "[error]" not in running.error_log()


def test_a_buffer_too_small_is_a_bad_request(running: Gateway) -> None:
    with connect(running.port("frame")) as client:
        client.sendall(struct.pack(">ccHH", b"L", b"1", 30, 5000))
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
    assert running.log_lines(1)[0].startswith("400 6 0")


def test_reading_goes_on_after_a_time_limit_of_the_handler(running: Gateway) -> None:
    with connect(running.port("impatient")) as client:
        assert read_exactly(client, 11) == b"go on then\n"
        client.sendall(b"okrest")
        assert read_exactly(client, 4) == b"rest"


def test_last_words_arrive_whole_though_bytes_lie_unread(running: Gateway) -> None:
    assert ask(running.port("flood"), b"z" * 100_000) == b"x" * 1_000_000


def test_writing_waits_for_the_client(running: Gateway) -> None:
    assert len(ask(running.port("stream_out"))) == 64 * 65536


def test_what_a_phase_may_not_do_is_refused(running: Gateway) -> None:
    assert ask(running.port("forced")) == b""
    running.wait_for_log("PhaseError|has no .choose.")
    assert running.log_lines(1)[0].startswith("500 ")


def test_a_block_of_code(gateway: Gateway) -> None:
    with serve(tagged_after_request("peer")) as peer:
        gateway.write(
            """
            stream {
                init_by_python_block {
                    import struct
                    NAMES = {"a": "anna", "b": "bob"}  # }
                }
                log_format who '$who';
                access_log logs/access.log who;
                server {
                    listen 127.0.0.1:@block;
                    set $who "";
                    preread_by_python_block {
                        letter = (await session.peek(1)).decode()
                        if letter not in NAMES:
                            session.reject(404, b"who is '}'?")
                        session.vars["who"] = NAMES[letter]
                    }
                    proxy_pass 127.0.0.1:@peer;
                }
            }
            """,
            peer=peer,
        )
        gateway.start()
        assert ask(gateway.port("block"), b"a!") == b"peer:a!"
        assert ask(gateway.port("block"), b"c!") == b"who is '}'?"
        assert sorted(gateway.log_lines(2)) == ["", "anna"]


def test_a_second_task_that_looks_is_refused_and_the_first_goes_on(gateway: Gateway) -> None:
    gateway.write(
        """
        stream {
            init_by_python_block { import asyncio }
            server {
                listen 127.0.0.1:@front;
                preread_by_python_block {
                    first = asyncio.create_task(session.peek(5))
                    await asyncio.sleep(0)
                    try:
                        await session.peek(1)
                    except Exception as error:
                        await session.write(str(error).encode())
                    session.reject(200, b": " + await first)
                }
                return "";
            }
        }
        """
    )
    gateway.start()
    with connect(gateway.port("front")) as client:
        refusal = b"another task is reading from this session"
        assert read_exactly(client, len(refusal)) == refusal
        client.sendall(b"hello")
        assert read_all(client) == b": hello"
