"""Handlers of UDP sessions: who is admitted, what the first datagram says, which peer gets it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask_udp, udp
from tests.harness.handlers import write_module
from tests.harness.servers import serve_udp
from tests.harness.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.gateway import Gateway

MODULE = """
import asyncio

from qanat.handlers import ClientClosedError

gate = asyncio.Event()


def local_only(session):
    session.ctx.seen = [session.phase]
    if session.client[0] != "127.0.0.1":
        session.reject(403, b"not you")


async def look(session):
    assert await session.peek(2) == b"ab"
    assert await session.peek_until(b"d") == b"abcd"
    assert await session.read_exactly(1) == b"a"
    try:
        await session.peek(100)
    except ClientClosedError as error:
        assert error.partial == b"bcdef"
    session.unread(b"A")
    await session.write(b"seen")


async def demanding(session):
    await session.peek(100)


async def take_all(session):
    session.vars["name"] = await session.read(100)
    await session.write(b"hello " + session.vars["name"].encode())


async def hold(session):
    if await session.peek(1) == b"o":
        gate.set()
        session.reject(200, b"opened")
    await gate.wait()


async def stall(session):
    if await session.peek(1) == b"s":
        await asyncio.sleep(60)


def broken(session):
    raise RuntimeError("no such device")


def large(session):
    session.reject(200, b"y" * 60_000)


async def too_large(session):
    await session.write(b"y" * 65_508)


def by_first_byte(session):
    session.ctx.tries = session.tries
    if session.tries == 0:
        session.more_tries(1)
        return session.vars["gone"]
    assert "No such file" in session.last_failure.reason
    return session.vars["there"]


def note(record):
    record.vars["noted"] = f"{record.status} {record.bytes_received} {record.bytes_sent}"
"""

CONFIG = """
stream {
    python_path ../py;
    log_format noted '$status $bytes_received $bytes_sent $name [$noted]';
    access_log logs/access.log noted;
    log_by_python app:note;
    upstream chosen { balance_by_python app:by_first_byte; server 127.0.0.1:9; }
    server { listen @access udp; access_by_python app:local_only; proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@look udp; preread_by_python app:look; proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@demanding udp; preread_by_python app:demanding; return no; }
    server { listen 127.0.0.1:@take_all udp; preread_by_python app:take_all;
        proxy_timeout 300ms; proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@hold udp; preread_by_python app:hold;
        proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@one_each udp; preread_by_python app:hold;
        proxy_requests 1; proxy_responses 1; proxy_pass 127.0.0.1:@peer; }
    server { listen 127.0.0.1:@stall udp; preread_by_python app:stall; python_timeout 100ms;
        return fine; }
    server { listen 127.0.0.1:@broken udp; preread_by_python app:broken; return never; }
    server { listen 127.0.0.1:@large udp; access_by_python app:large; return never; }
    server { listen 127.0.0.1:@too_large udp; preread_by_python app:too_large; return never; }
    server { listen 127.0.0.1:@balance udp; set $gone @unbound; set $there 127.0.0.1:@peer;
        proxy_responses 1; proxy_pass chosen; }
    server { listen 127.0.0.1:@answer udp; set $name ""; set $noted "";
        preread_by_python app:take_all; return "for $name"; }
}
"""


def upper(data: bytes) -> list[bytes]:
    return [data.upper()]


@pytest.fixture
def serving(gateway: Gateway) -> Iterator[Gateway]:
    """Serve the configuration above, with a peer that answers in capitals."""
    write_module(gateway, "app", MODULE)
    with serve_udp(upper) as peer:
        gateway.write(CONFIG, peer=peer, unbound=f"unix:{gateway.prefix}/nobody")
        yield gateway.start()


def test_access_handlers_admit_and_refuse(serving: Gateway) -> None:
    port = serving.port("access")
    assert ask_udp(port, b"me", source="127.0.0.1") == b"ME"
    assert ask_udp(port, b"me", source="127.0.0.2") == b"not you"
    assert serving.log_lines(1) == ["403 2 7 - [403 2 7]"]
    serving.wait_for_log("rejected by a handler with status 403")


def test_answers_come_from_the_address_that_was_asked(serving: Gateway) -> None:
    with udp(serving.port("access"), host="127.0.0.7", source="127.0.0.2") as client:
        client.send(b"me")
        assert client.recv(100) == b"not you"


def test_a_preread_handler_sees_one_datagram_and_leaves_the_rest_to_the_peer(
    serving: Gateway,
) -> None:
    with udp(serving.port("look")) as client:
        client.send(b"abcdef")
        assert {client.recv(100), client.recv(100)} == {b"seen", b"ABCDEF"}
        client.send(b"next")
        assert client.recv(100) == b"NEXT"


def test_more_than_the_datagram_has_will_not_come(serving: Gateway) -> None:
    with udp(serving.port("demanding")) as client:
        client.send(b"little")
        assert serving.log_lines(1) == ["200 6 0 - [200 6 0]"]


def test_a_datagram_that_is_taken_does_not_reach_the_peer(serving: Gateway) -> None:
    with udp(serving.port("take_all")) as client:
        client.send(b"joe")
        assert client.recv(100) == b"hello joe"
        client.send(b"next")
        assert client.recv(100) == b"NEXT"
        assert serving.log_lines(1) == ["200 7 13 joe [200 7 13]"]


def test_what_handlers_set_is_seen_by_return(serving: Gateway) -> None:
    with udp(serving.port("answer")) as client:
        client.send(b"ann")
        assert [client.recv(100), client.recv(100)] == [b"hello ann", b"for ann"]


def test_datagrams_wait_in_order_while_a_handler_runs(serving: Gateway) -> None:
    sent = [f"n{number}".encode() for number in range(40)]
    with udp(serving.port("hold")) as waiting, udp(serving.port("hold")) as other:
        for data in sent:
            waiting.send(data)
        other.send(b"open")
        assert other.recv(100) == b"opened"
        assert [waiting.recv(100) for _ in sent] == [data.upper() for data in sent]


def test_datagrams_beyond_proxy_requests_begin_new_sessions(serving: Gateway) -> None:
    with udp(serving.port("one_each")) as waiting, udp(serving.port("one_each")) as other:
        for data in (b"abc", b"def", b"ghi"):
            waiting.send(data)
        other.send(b"open")
        assert other.recv(100) == b"opened"
        assert {waiting.recv(100) for _ in range(3)} == {b"ABC", b"DEF", b"GHI"}
    lines = serving.log_lines(4)
    assert sorted(lines) == ["200 3 3 - [200 3 3]"] * 3 + ["200 4 6 - [200 4 6]"]


def test_a_slow_handler_holds_up_nobody_else(serving: Gateway) -> None:
    with udp(serving.port("stall")) as slow, udp(serving.port("stall")) as quick:
        slow.send(b"slow")
        quick.send(b"quick")
        assert quick.recv(100) == b"fine"
    assert serving.log_lines(2) == ["200 5 4 - [200 5 4]", "500 4 0 - [500 4 0]"]
    serving.wait_for_log(r"preread handler app:stall did not end in time, waiting at .*app.py")


def test_a_handler_that_fails_ends_its_session_alone(serving: Gateway) -> None:
    with udp(serving.port("broken")) as client:
        client.send(b"x")
        client.send(b"y")
        assert serving.log_lines(2) == ["500 1 0 - [500 1 0]"] * 2
    serving.wait_for_log("preread handler app:broken failed: RuntimeError: no such device")


def test_last_words_are_one_datagram(serving: Gateway) -> None:
    assert ask_udp(serving.port("large"), b"x") == b"y" * 60_000


def test_what_is_larger_than_a_datagram_is_refused(serving: Gateway) -> None:
    with udp(serving.port("too_large")) as client:
        client.send(b"x")
        assert serving.log_lines(1) == ["500 1 0 - [500 1 0]"]
    serving.wait_for_log("app:too_large failed: OSError: .*Message too long")


def test_a_balance_handler_chooses_and_chooses_again(serving: Gateway) -> None:
    assert ask_udp(serving.port("balance"), b"abc") == b"ABC"
    assert serving.log_lines(1) == ["200 3 3 - [200 3 3]"]


def test_two_hundred_clients_are_answered_in_order(serving: Gateway) -> None:
    clients = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(200)]
    try:
        for client in clients:
            client.settimeout(PATIENCE)
            client.connect(("127.0.0.1", serving.port("access")))
        for number in range(5):
            for index, client in enumerate(clients):
                client.send(f"c{index} {number}".encode())
            for index, client in enumerate(clients):
                assert client.recv(100) == f"C{index} {number}".encode()
    finally:
        for client in clients:
            client.close()
