"""Content handlers of UDP sessions: datagrams in, datagrams out, and when a session ends."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask_udp, udp
from tests.harness.handlers import write_module
from tests.harness.waiting import PATIENCE

if TYPE_CHECKING:
    from tests.harness.gateway import Gateway

MODULE = """
import asyncio

from qanat.handlers import DatagramSession

rooms = []


async def echo(session: DatagramSession) -> None:
    async for datagram in session.datagrams():
        session.send(datagram)


def one(session: DatagramSession) -> None:
    session.send(b"%s from %d" % (session.receive_nowait(), session.id))


async def until_bye(session: DatagramSession) -> None:
    session.ctx.count = 0
    async for datagram in session.datagrams():
        session.ctx.count += 1
        if datagram == b"bye":
            session.reject(208, b"bye %d" % session.ctx.count)
        session.send(datagram * 2)


async def room(session: DatagramSession) -> None:
    rooms.append(session)
    async for datagram in session.datagrams():
        for other in rooms:
            if other is not session:
                other.send(datagram)


async def count(session: DatagramSession) -> None:
    await asyncio.sleep(0)
    async for datagram in session.datagrams():
        await asyncio.sleep(0)
        session.send(b"%s %s" % (datagram, session.vars["bytes_received"].encode()))


async def flood(session: DatagramSession) -> None:
    taken = [session.send(b"z" * 1000) for _ in range(2000)]
    session.vars["name"] = str(sum(taken))
    session.send(b"short of it")


gate = asyncio.Event()


async def gated(session: DatagramSession) -> None:
    if (first := session.receive_nowait()) == b"wait":
        await gate.wait()
        session.send(b"%d lost" % session.dropped)
    else:
        session.send(first)
    async for datagram in session.datagrams():
        if datagram == b"open":
            gate.set()
        session.send(b"%d %d" % (datagram[0], len(datagram)))


async def silent(session: DatagramSession) -> None:
    async for datagram in session.datagrams():
        pass
    session.send(b"are you there?")


async def stuck(session: DatagramSession) -> None:
    await asyncio.sleep(60)


async def broken(session: DatagramSession) -> None:
    async for datagram in session.datagrams():
        session.send(bytes(int(datagram)))


async def both(session: DatagramSession) -> None:
    readers = [asyncio.create_task(session.receive()) for _ in range(2)]
    session.receive_nowait()
    await asyncio.sleep(0)
    await asyncio.gather(*readers)


async def greet(session):
    session.ctx.greeting = await session.read(5)


async def greeted(session: DatagramSession) -> None:
    async for datagram in session.datagrams():
        session.send(session.ctx.greeting + b"/" + datagram)
"""

CONFIG = """
stream {
    python_path ../py;
    log_format counted '$status $bytes_received $bytes_sent';
    access_log logs/access.log counted;
    python_timeout 200ms;
    server { listen @echo udp; content_by_python app:echo; }
    server { listen 127.0.0.1:@one udp; content_by_python app:one; }
    server { listen 127.0.0.1:@until_bye udp; content_by_python app:until_bye; }
    server { listen 127.0.0.1:@room udp; content_by_python app:room; }
    server { listen 127.0.0.1:@count udp; content_by_python app:count; }
    server { listen 127.0.0.1:@flood udp; set $name ""; access_log logs/access.log named;
        content_by_python app:flood; }
    server { listen 127.0.0.1:@gated udp; content_by_python app:gated; }
    server { listen 127.0.0.1:@silent udp; proxy_timeout 100ms; content_by_python app:silent; }
    server { listen 127.0.0.1:@stuck udp; proxy_timeout 100ms; content_by_python app:stuck; }
    server { listen 127.0.0.1:@broken udp; content_by_python app:broken; }
    server { listen 127.0.0.1:@both udp; content_by_python app:both; }
    server { listen 127.0.0.1:@greeted udp; preread_by_python app:greet;
        content_by_python app:greeted; }
    server { listen 127.0.0.1:@block udp;
        content_by_python_block { session.send(session.receive_nowait()[::-1]) } }
    log_format named '$status $name';
}
"""


@pytest.fixture
def serving(gateway: Gateway) -> Gateway:
    """Serve the configuration above."""
    write_module(gateway, "app", MODULE)
    gateway.write(CONFIG)
    return gateway.start()


def test_datagrams_are_echoed_as_they_are(serving: Gateway) -> None:
    with udp(serving.port("echo")) as client:
        for data in (b"a", b"", b"ccc", b"x" * 1400, b"y" * 65_507):
            client.send(data)
            assert client.recv(65_536) == data


def test_answers_come_from_the_address_that_was_asked(serving: Gateway) -> None:
    assert ask_udp(serving.port("echo"), b"who?", host="127.0.0.9") == b"who?"


def test_a_plain_function_answers_one_datagram_a_session(serving: Gateway) -> None:
    with udp(serving.port("one")) as client:
        answers = []
        for data in (b"first", b"second"):
            client.send(data)
            answers.append(client.recv(100).split(b" from "))
        (first, session), (second, other) = answers
        assert (first, second) == (b"first", b"second")
        assert session != other
    assert [line.split()[:2] for line in serving.log_lines(2)] == [["200", "5"], ["200", "6"]]


def test_a_block_answers(serving: Gateway) -> None:
    assert ask_udp(serving.port("block"), b"abc") == b"cba"


def test_a_session_ends_with_its_handler(serving: Gateway) -> None:
    with udp(serving.port("until_bye")) as client:
        answers = []
        for data in (b"a", b"bye", b"bye"):
            client.send(data)
            answers.append(client.recv(100))
        assert answers == [b"aa", b"bye 2", b"bye 1"]
    assert serving.log_lines(2) == ["208 4 7", "208 3 5"]


def test_clients_talk_to_each_other(serving: Gateway) -> None:
    with udp(serving.port("room")) as ann, udp(serving.port("room")) as bob:
        ann.send(b"anybody?")
        for _ in range(100):
            bob.send(b"bob is here")
        assert {ann.recv(100) for _ in range(100)} == {b"bob is here"}
        ann.send(b"hello bob")
        while (heard := bob.recv(100)) != b"hello bob":
            assert heard == b"anybody?"


def test_bytes_are_counted_as_they_are_taken(serving: Gateway) -> None:
    with udp(serving.port("count")) as client:
        for data, total in ((b"four", b"4"), (b"", b"4"), (b"seven", b"9")):
            client.send(data)
            assert client.recv(100) == data + b" " + total


def test_what_a_handler_sends_without_end_is_lost_and_told(serving: Gateway) -> None:
    with udp(serving.port("flood")) as client:
        client.send(b"go")
        status, taken = serving.log_lines(1)[0].split()
        assert status == "200"
        assert 1048 <= int(taken) <= 2000
        assert client.recv(2000) == b"z" * 1000


def test_datagrams_wait_for_their_handler_up_to_a_bound(serving: Gateway) -> None:
    with udp(serving.port("gated")) as client, udp(serving.port("gated")) as other:
        client.send(b"wait")
        large = [bytes([number]) * 65_507 for number in range(20)]
        for data in large:
            client.send(data)
            other.send(b"tick")  # served all the while
            assert other.recv(100) in {b"tick", b"116 4"}
        other.send(b"open")
        assert client.recv(100) == b"4 lost"
        for number in range(16):
            assert client.recv(100) == b"%d 65507" % number


def test_silence_ends_the_datagrams(serving: Gateway) -> None:
    with udp(serving.port("silent")) as client:
        client.send(b"hi")
        assert client.recv(100) == b"are you there?"
    assert serving.log_lines(1) == ["200 2 14"]


def test_a_handler_that_does_not_end_then_is_cancelled(serving: Gateway) -> None:
    with udp(serving.port("stuck")) as client:
        client.send(b"hi")
        assert serving.log_lines(1) == ["500 2 0"]
    serving.wait_for_log(r"content handler app:stuck did not end in time, waiting at .*app\.py")


def test_a_failure_ends_one_session_and_the_next_datagram_begins_another(
    serving: Gateway,
) -> None:
    with udp(serving.port("broken")) as client:
        for data in (b"3", b"nonsense", b"5"):
            client.send(data)
        assert [client.recv(100), client.recv(100)] == [bytes(3), bytes(5)]
        assert serving.log_lines(1) == ["500 9 3"]
    serving.wait_for_log("content handler app:broken failed: ValueError: invalid literal")


def test_more_than_a_datagram_can_be_is_refused(serving: Gateway) -> None:
    with udp(serving.port("broken")) as client:
        client.send(b"65508")
        assert serving.log_lines(1) == ["500 5 0"]
    serving.wait_for_log("app:broken failed: OSError: .*Message too long")


def test_only_one_task_waits_for_datagrams(serving: Gateway) -> None:
    with udp(serving.port("both")) as client:
        client.send(b"x")
        assert serving.log_lines(1) == ["500 1 0"]
    serving.wait_for_log("another task is waiting for a datagram of this session")


def test_content_begins_with_what_preread_left(serving: Gateway) -> None:
    with udp(serving.port("greeted")) as client:
        client.send(b"hello world")
        assert client.recv(100) == b"hello/ world"
        client.send(b"more")
        assert client.recv(100) == b"hello/more"


def test_two_hundred_clients_are_echoed_in_order(serving: Gateway) -> None:
    clients = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(200)]
    try:
        for client in clients:
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", serving.port("echo")))
        # No more at once than the buffer of the listener's socket holds.
        groups = [clients[first : first + 50] for first in range(0, 200, 50)]
        for number in range(0, 12, 3):
            for group in groups:
                for client in group:
                    for one in range(number, number + 3):
                        client.send(f"{client.getsockname()} {one}".encode())
                for client in group:
                    for one in range(number, number + 3):
                        assert client.recv(100) == f"{client.getsockname()} {one}".encode()
    finally:
        for client in clients:
            client.close()
