"""Frames in handlers: that of the `frame` block, and those of a `FrameFormat`."""

from __future__ import annotations

import json
import socket
import struct
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, connect, is_reset, read_all, read_exactly
from tests.harness.handlers import write_module
from tests.harness.servers import echo, serve, tagged_after_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway

MODULE = """
from qanat.handlers import ConsistentHash, FrameError, FrameFormat, Peer

LOGIN = FrameFormat(
    ">ccHH", ("type", "version", "wait", "length"), length="length", body="json"
)
SMALL = FrameFormat(">H", ("length",), length="length")
servers = ConsistentHash(PEERS)


def admit(session):
    # The block has seen it: a plain function may look.
    frame = session.frame
    assert frame["type"] == b"L" and frame["wait"] == 30, frame
    if frame.body["devid"] == "stolen":
        session.reject(403, b"no")
    session.ctx.devid = frame.body["devid"]
    assert session.vars["frame_json_devid"] == session.ctx.devid
    assert session.vars["frame_version"] == "1"


def place(session):
    return servers.pick(session.frame.body["devid"])


def note(record):
    record.vars["noted"] = record.frame.body["devid"]


async def look(session):
    frame = await session.peek_frame(LOGIN)
    session.vars["noted"] = frame.body["devid"]
    assert frame.data[6:] == frame.payload
    assert (await session.peek_frame(LOGIN)).fields == frame.fields


async def take_all(session):
    # Two commands before the bytes that are for the peer.
    first = await session.read_frame(SMALL)
    second = await session.read_frame(SMALL)
    await session.write(first.payload + b"," + second.body + b";")


async def take_own(session):
    frame = await session.read_frame()
    await session.write(frame.payload)


async def answer_the_wrong(session):
    try:
        await session.peek_frame(LOGIN)
    except FrameError as error:
        session.reject(400, str(error).encode())


async def without_a_block(session):
    await session.peek_frame()


async def never_suspends(session):
    # As a coroutine without a loop: the frame is there, so the first step is the last one.
    try:
        session.peek_frame().send(None)
    except StopIteration as stop:
        session.reject(200, stop.value.payload)
    session.reject(500, b"suspended")
"""

CONFIGURATION = """
stream {
    python_path ../py;
    log_format noted "$status $noted";
    access_log logs/access.log noted;
    preread_timeout 300ms;
    upstream placed { balance_by_python app:place; }
    frame { header ">ccHH" type version wait length; length length; body json; }
    server { listen 127.0.0.1:@block; set $noted "-"; preread_by_python app:admit;
        log_by_python app:note; proxy_pass placed; }
    server { listen 127.0.0.1:@never_suspends; preread_by_python app:never_suspends; return x; }
    server { listen 127.0.0.1:@take_own; preread_by_python app:take_own;
        proxy_pass 127.0.0.1:@echo; }
}
"""

WITHOUT_A_BLOCK = """
stream {
    python_path ../py;
    log_format noted "$status $noted";
    access_log logs/access.log noted;
    preread_timeout 300ms;
    preread_buffer_size 64;
    server { listen 127.0.0.1:@look; set $noted "-"; preread_by_python app:look;
        proxy_pass 127.0.0.1:@echo; }
    server { listen 127.0.0.1:@take_all; preread_by_python app:take_all;
        proxy_pass 127.0.0.1:@echo; }
    server { listen 127.0.0.1:@answering; preread_by_python app:answer_the_wrong; return x; }
    server { listen 127.0.0.1:@without; preread_by_python app:without_a_block; return x; }
}
"""


def start(gateway: Gateway, configuration: str) -> Iterator[Gateway]:
    with serve(tagged_after_request("a")) as one, serve(tagged_after_request("b")) as two:
        peers = [f"127.0.0.1:{port}" for port in (one, two)]
        write_module(gateway, "app", f"PEERS = {peers}\n{MODULE}")
        with serve(echo) as port:
            gateway.write(configuration, echo=port)
            yield gateway.start()


@pytest.fixture
def running(gateway: Gateway) -> Iterator[Gateway]:
    yield from start(gateway, CONFIGURATION)


@pytest.fixture
def plain(gateway: Gateway) -> Iterator[Gateway]:
    yield from start(gateway, WITHOUT_A_BLOCK)


def login(devid: str) -> bytes:
    body = json.dumps({"devid": devid}).encode()
    return struct.pack(">ccHH", b"L", b"1", 30, len(body)) + body


def test_all_phases_see_the_frame_of_the_block(running: Gateway) -> None:
    data = login("d-1") + b"more"
    assert ask(running.port("block"), data)[1:] == b":" + data
    assert running.log_lines(1) == ["200 d-1"]
    assert ask(running.port("block"), login("stolen")) == b"no"


def test_a_frame_that_is_there_suspends_nobody(running: Gateway) -> None:
    data = login("d-1")
    assert ask(running.port("never_suspends"), data) == data[6:]


def test_the_frame_of_the_block_can_be_taken(running: Gateway) -> None:
    data = login("d-1")
    with connect(running.port("take_own")) as client:
        client.sendall(data + b"rest")
        assert read_exactly(client, len(data) - 6 + 4) == data[6:] + b"rest"


def test_a_format_of_the_handler_needs_no_block(plain: Gateway) -> None:
    data = login("d-2")
    with connect(plain.port("look")) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data + b"more":
            client.send(bytes([byte]))
        assert read_exactly(client, len(data) + 4) == data + b"more"
    assert plain.log_lines(1) == ["200 d-2"]


def test_frames_are_taken_one_after_another(plain: Gateway) -> None:
    with connect(plain.port("take_all")) as client:
        client.sendall(b"\0\3one\0")
        client.sendall(b"\3twothree")
        assert read_exactly(client, 13) == b"one,two;three"


def test_a_handler_may_answer_to_what_is_no_frame(plain: Gateway) -> None:
    with connect(plain.port("answering")) as client:
        client.sendall(struct.pack(">ccHH", b"L", b"1", 30, 4) + b"nope")
        assert read_all(client) == b"frame: body is not JSON: expected ident at byte 1"


def test_what_is_no_frame_is_the_fault_of_the_client(plain: Gateway) -> None:
    with connect(plain.port("look")) as client:
        client.sendall(struct.pack(">ccHH", b"L", b"1", 30, 4) + b"nope")
        is_reset(client)  # or an orderly end: whatever the kernel makes of unread bytes
    plain.wait_for_log(r"\[info\] .*frame: body is not JSON: expected ident at byte 1")
    assert plain.log_lines(1) == ["400 -"]


def test_more_than_the_preread_buffer_is_too_much(plain: Gateway) -> None:
    with connect(plain.port("look")) as client:
        client.sendall(struct.pack(">ccHH", b"L", b"1", 30, 100))
        is_reset(client)
    assert plain.log_lines(1) == ["400 -"]


def test_a_client_that_does_not_send_it_ends_as_always(plain: Gateway) -> None:
    with connect(plain.port("look")) as client:
        client.sendall(b"L")
        assert read_all(client) == b""
    assert plain.log_lines(1) == ["200 -"]


def test_without_a_block_there_is_no_frame_to_ask_for(plain: Gateway) -> None:
    plain.expected_alarms.append("Traceback")
    assert ask(plain.port("without"), b"x") == b""
    plain.wait_for_log('PhaseError: the server has no "frame" block')
