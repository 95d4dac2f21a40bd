"""`examples/memcached`, as it stands, with a client that others use for memcached itself."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheClientError, MemcacheServerError
from tests.harness import examples
from tests.harness.clients import connect, read_all
from tests.harness.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.examples import Example


@pytest.fixture
def memcached(tmp_path: Path) -> Iterator[Example]:
    with examples.running("memcached", tmp_path) as running:
        yield running


@pytest.fixture
def client(memcached: Example) -> Iterator[Client]:
    with closing(client_of(memcached)) as one:
        yield one


def client_of(memcached: Example) -> Client:
    return Client(memcached.address(11211), timeout=PATIENCE, default_noreply=False)


def talk(memcached: Example, commands: bytes) -> bytes:
    """Send commands without waiting for their answers, and return all of these."""
    with connect(memcached.port(11211)) as raw:
        raw.sendall(commands)
        raw.shutdown(socket.SHUT_WR)
        return read_all(raw)


def test_values_are_kept_with_their_flags(client: Client) -> None:
    assert client.set("key", b"one\r\ntwo", flags=7)
    assert client.get("key") == b"one\r\ntwo"
    assert (client.add("key", b"x"), client.add("other", b"x")) == (False, True)
    assert (client.replace("key", b"three"), client.replace("none", b"x")) == (True, False)
    assert (client.append("key", b"!"), client.prepend("key", b"<")) == (True, True)
    assert client.get_many(["key", "other", "none"]) == {"key": b"<three!", "other": b"x"}
    assert (client.delete("key"), client.delete("key"), client.get("key")) == (True, False, None)


def test_numbers_count_up_and_down(client: Client) -> None:
    client.set("n", b"10")
    assert (client.incr("n", 5), client.decr("n", 100), client.incr("none", 1)) == (15, 0, None)
    client.set("n", str(2**64 - 1).encode())
    assert (client.incr("n", 2), client.get("n")) == (1, b"1")
    client.set("n", b"text")
    with pytest.raises(MemcacheClientError, match="non-numeric"):
        client.incr("n", 1)


def test_two_clients_see_each_others_changes(memcached: Example, client: Client) -> None:
    with closing(client_of(memcached)) as other:
        client.set("key", b"mine")
        value, version = client.gets("key")
        assert (value, other.set("key", b"yours")) == (b"mine", True)
        assert client.cas("key", b"mine again", version) is False
        _, version = client.gets("key")
        assert client.cas("key", b"mine again", version) is True
        assert other.get("key") == b"mine again"
        assert client.cas("none", b"x", version) is None


def test_values_expire_by_time_and_at_a_moment(client: Client) -> None:
    client.set("over", b"x", expire=-1)
    client.set("past", b"x", expire=int(time.time()) - 10)
    client.set("future", b"x", expire=int(time.time()) + 3600)
    client.set("brief", b"x", expire=1)
    assert client.get_many(["over", "past", "future"]) == {"future": b"x"}
    until(lambda: client.get("brief") is None or None, "the end of a second")
    assert (client.touch("future", 60), client.touch("none", 60)) == (True, False)
    assert (client.touch("future", -1), client.get("future")) == (True, None)


def test_commands_are_answered_in_order(memcached: Example) -> None:
    commands = (
        b"set a 1 0 1\r\nA\r\nget a\r\nset b 2 0 1 noreply\r\nB\r\ngets a b none\r\n"
        b"incr none 1\r\ndelete a noreply\r\nget a\r\nversion\r\nquit\r\nget b\r\n"
    )
    lines = talk(memcached, commands).splitlines()
    assert lines[:5] == [b"STORED", b"VALUE a 1 1", b"A", b"END", lines[4]]
    assert lines[4].startswith(b"VALUE a 1 1 ")
    assert lines[6].startswith(b"VALUE b 2 1 ")
    assert lines[8:11] == [b"END", b"NOT_FOUND", b"END"]
    assert lines[11].startswith(b"VERSION ")
    assert len(lines) == 12


@pytest.mark.parametrize(
    ("commands", "answer"),
    [
        (b"nonsense\r\n", b"ERROR\r\n"),
        (b"\r\n", b"ERROR\r\n"),
        (b"get\r\n", b"ERROR\r\n"),
        (b"get " + b"k" * 251 + b"\r\n", b"CLIENT_ERROR bad command line format\r\n"),
        (b"delete a b c\r\n", b"CLIENT_ERROR bad command line format\r\n"),
        (b"set a x 0 1\r\nA\r\n", b"CLIENT_ERROR bad command line format\r\n"),
        (b"set a 0 0 1\r\ntoo long\r\n", b"CLIENT_ERROR bad data chunk\r\n"),
        (b"incr a x\r\n", b"CLIENT_ERROR invalid numeric delta argument\r\n"),
        (b"x" * 100_000, b"CLIENT_ERROR line too long\r\n"),
        (b"set a 0 0 5\r\nabc", b""),
    ],
)
def test_what_cannot_be_done_is_said_as_memcached_says_it(
    memcached: Example, commands: bytes, answer: bytes
) -> None:
    assert talk(memcached, commands) == answer


def test_a_value_has_a_largest_size(client: Client) -> None:
    largest = b"x" * 1024 * 1024
    assert client.set("large", largest)
    assert client.get("large") == largest
    with pytest.raises(MemcacheServerError, match="too large"):
        client.set("larger", largest + b"x")
    with pytest.raises(MemcacheServerError, match="too large"):
        client.append("large", b"x")
    assert client.get("large") == largest


def test_old_entries_make_room(client: Client) -> None:
    value = b"x" * 1024 * 1000
    for number in range(80):
        client.set(f"key-{number}", value)
    stats = client.stats()
    assert int(stats[b"evictions"]) == 80 - int(stats[b"curr_items"]) > 10
    assert int(stats[b"bytes"]) <= int(stats[b"limit_maxbytes"]) == 64 << 20
    assert (client.get("key-0"), client.get("key-79")) == (None, value)
    assert client.flush_all()
    assert client.get("key-79") is None
