"""Content handlers read as from `asyncio.StreamReader`, however the bytes arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import ask, connect, read_all, read_exactly
from tests.harness.gateway import Gateway
from tests.harness.handlers import write_module
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = r"""
import ast
import asyncio

from qanat.handlers import BufferLimitError, ClientClosedError

LATE = asyncio.Event()


def describe(error):
    if isinstance(error, asyncio.IncompleteReadError):
        return ("ended", error.partial, error.expected)
    if isinstance(error, asyncio.LimitOverrunError):
        return ("full", error.consumed, isinstance(error, ValueError))
    return (type(error).__name__, str(error))


async def script(session):
    # The first line says what to read of the rest: (method, *arguments) each.
    for method, *arguments in ast.literal_eval((await session.reader.readline()).decode()):
        try:
            result = await getattr(session.reader, method)(*arguments)
        except Exception as error:
            result = describe(error)
        session.writer.write(f"{result!r}\n".encode())
    session.writer.write(f"at_eof {session.reader.at_eof()}\n".encode())


async def lines(session):
    async for line in session.reader:
        session.writer.write(repr(line).encode() + b"\n")


async def early(session):
    assert await session.peek(5) == b"hello"
    assert await session.read(1) == b"h"


async def impatient(session):
    method, *arguments = ast.literal_eval((await session.reader.readline()).decode())
    try:
        async with asyncio.timeout(0.05):
            await getattr(session.reader, method)(*arguments)
    except TimeoutError:
        session.writer.write(b"late\n")
    session.writer.write(repr(await getattr(session.reader, method)(*arguments)).encode())


async def two_readers(session):
    first = asyncio.create_task(session.reader.readline())
    await asyncio.sleep(0)
    try:
        await session.reader.read(1)
    except RuntimeError as error:
        session.writer.write(f"{error}\n".encode())
    session.writer.write(await first)


async def waits_for_nothing(session):
    assert await session.reader.read(1) == b"."
    # From here on everything is there: a coroutine that suspended would yield.
    for _ in range(3):
        try:
            session.reader.readline().send(None)
        except StopIteration as stop:
            session.writer.write(stop.value)
    session.writer.write(b"done\n")
"""

CONFIG = """
stream {
    python_path ../py;
    log_format bytes '$status $bytes_received $bytes_sent';
    access_log logs/access.log bytes;
    server { listen 127.0.0.1:@script; content_by_python app:script; }
    server { listen 127.0.0.1:@lines; content_by_python app:lines; }
    server { listen 127.0.0.1:@early; preread_by_python app:early; content_by_python app:lines; }
    server { listen 127.0.0.1:@impatient; content_by_python app:impatient; }
    server { listen 127.0.0.1:@two_readers; content_by_python app:two_readers; }
    server { listen 127.0.0.1:@there; content_by_python app:waits_for_nothing; }
}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("content"))
    write_module(gateway, "app", MODULE)
    gateway.write(CONFIG)
    gateway.start()
    yield gateway
    gateway.close()


def read(gateway: Gateway, wants: object, data: bytes, *, in_pieces: bool = False) -> list[object]:
    """Have the handler read `data` in the ways of `wants`; return what it got each time."""
    with connect(gateway.port("script")) as client:
        client.sendall(f"{wants!r}\n".encode())
        for piece in [data[at : at + 1] for at in range(len(data))] if in_pieces else [data]:
            client.sendall(piece)
        client.shutdown(1)
        *results, at_eof = read_all(client).decode().splitlines()
    assert at_eof in {"at_eof True", "at_eof False"}
    return [eval(result) for result in results]


LINE = ("readline",)
READS = [
    ("exactly", b"abcdef", [("readexactly", 2), ("readexactly", 4)], [b"ab", b"cdef"]),
    ("nothing", b"ab", [("readexactly", 0), ("read", 0), ("readexactly", 2)], [b"", b"", b"ab"]),
    ("a line", b"one\ntwo\n", [LINE, LINE, LINE], [b"one\n", b"two\n", b""]),
    ("a line without its end", b"one\ntwo", [LINE, LINE, LINE], [b"one\n", b"two", b""]),
    ("a lone CR", b"a\rb\r\nc", [LINE, LINE], [b"a\rb\r\n", b"c"]),
    ("to the end", b"all of it", [("read",), ("read",)], [b"all of it", b""]),
    ("too few", b"abc", [("readexactly", 5), ("read",)], [("ended", b"abc", 5), b""]),
    ("until", b"k=v;rest", [("readuntil", b";"), ("read",)], [b"k=v;", b"rest"]),
    ("never", b"k=v", [("readuntil", b";")], [("ended", b"k=v", None)]),
    ("one of two", b"a;b,c;", [("readuntil", (b";", b","))] * 3, [b"a;", b"b,", b"c;"]),
    (
        "the one that ends first",
        b"xabcy",
        [("readuntil", (b"abc", b"b")), ("read",)],
        [b"xab", b"cy"],
    ),
    (
        "mixed",
        b"4\nbody--abcrest",
        [LINE, ("readexactly", 4), ("readuntil", b"--abc"), ("read",)],
        [b"4\n", b"body", b"--abc", b"rest"],
    ),
    ("a chunk, then its mark", b"hello$$", [("readuntil", b"$$"), LINE], [b"hello$$", b""]),
]


@pytest.mark.parametrize("in_pieces", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize(
    ("data", "wants", "expected"), [r[1:] for r in READS], ids=[r[0] for r in READS]
)
def test_reading(
    running: Gateway, data: bytes, wants: object, expected: object, in_pieces: bool
) -> None:
    assert read(running, wants, data, in_pieces=in_pieces) == expected


@pytest.mark.parametrize("in_pieces", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("pattern", ["aa", "aaa", "aaaaad", "abcabd", "abcabdabcabe", "--abc"])
def test_a_separator_that_repeats_itself_is_found(
    running: Gateway, pattern: str, in_pieces: bool
) -> None:
    text = f"{pattern[:-1]}{pattern[:-1]}x{pattern}{pattern}end"
    first = text.index(pattern) + len(pattern)
    wants = [("readuntil", pattern.encode()), ("read",)]
    found = read(running, wants, text.encode(), in_pieces=in_pieces)
    assert found == [text[:first].encode(), text[first:].encode()]


def test_read_returns_as_soon_as_there_is_a_byte(running: Gateway) -> None:
    with connect(running.port("script")) as client:
        client.sendall(b"[('read', 1000), ('read', 2)]\n")
        client.sendall(b"a")
        assert read_exactly(client, 5) == b"b'a'\n"
        client.sendall(b"bcd")
        assert read_exactly(client, 6) == b"b'bc'\n"


@pytest.mark.parametrize(
    ("want", "why"),
    [
        (("readexactly", -1), "ValueError"),
        (("readuntil", b""), "ValueError"),
        (("readuntil", ()), "ValueError"),
        (("readuntil", "text"), "TypeError"),
        (("readexactly", "2"), "TypeError"),
        (("read", None), "TypeError"),
    ],
)
def test_a_senseless_want_is_refused(running: Gateway, want: object, why: str) -> None:
    [refused, rest] = read(running, [want, ("read",)], b"rest")
    assert isinstance(refused, tuple)
    assert refused[0] == why
    assert rest == b"rest"


def test_a_line_is_64_kib_at_most(running: Gateway) -> None:
    """An endless line is dropped, as asyncio does; what `readuntil` does not find stays."""
    endless = b"x" * 65536
    [line, rest] = read(running, [LINE, ("read",)], endless + b"y\n")
    assert line == ("full", 65536, True)
    assert rest == b"y\n"
    [text, piece] = read(running, [("readuntil", b"\n"), ("readexactly", 65537)], endless + b"y\n")
    assert text == ("full", 65536, True)
    assert piece == endless + b"y"


def test_one_read_may_be_larger_than_what_is_read_ahead(running: Gateway) -> None:
    data = bytes(range(256)) * 1200
    assert read(running, [("readexactly", len(data))], data) == [data]
    assert read(running, [("read",)], data) == [data]


def test_a_long_separator(running: Gateway) -> None:
    mark = b"=" * 5000 + b"!"
    data = b"=" * 4000 + b"?" + mark + b"rest"
    found = read(running, [("readuntil", mark), ("read",)], data)
    assert found == [data[:-4], b"rest"]


@pytest.mark.parametrize(
    ("want", "first", "rest"),
    [
        (("readline",), b"par", b"tial\n"),
        (("readexactly", 7), b"par", b"tial"),
        (("readuntil", b"ll"), b"partial", b"l"),
        (("read",), b"partial", b"ly"),
    ],
)
def test_a_read_that_timed_out_takes_nothing(
    running: Gateway, want: object, first: bytes, rest: bytes
) -> None:
    with connect(running.port("impatient")) as client:
        client.sendall(f"{want!r}\n".encode() + first)
        assert read_exactly(client, 5) == b"late\n"
        client.sendall(rest)
        client.shutdown(1)
        assert read_all(client) == repr(first + rest).encode()


def test_a_second_reader_is_refused(running: Gateway) -> None:
    with connect(running.port("two_readers")) as client:
        expected = b"another task is reading from this session\n"
        assert read_exactly(client, len(expected)) == expected
        client.sendall(b"for the first\n")
        assert read_all(client) == b"for the first\n"


def test_what_is_there_is_read_without_waiting(running: Gateway) -> None:
    assert ask(running.port("there"), b".1\n2\n3\n") == b"1\n2\n3\ndone\n"


def test_lines_are_iterated_over(running: Gateway) -> None:
    with connect(running.port("lines")) as client:
        client.sendall(b"a\n\nb")
        client.shutdown(1)
        assert read_all(client) == b"b'a\\n'\nb'\\n'\nb'b'\n"


def test_what_preread_left_comes_first_and_all_is_counted(running: Gateway) -> None:
    with connect(running.port("early")) as client:
        client.sendall(b"hello\n")
        assert read_exactly(client, 9) == b"b'ello\\n'"
        client.sendall(b"more\n")
        client.shutdown(1)
        read_all(client)
    until(lambda: "200 11 20" in running.log_lines(1), "the counted bytes")
