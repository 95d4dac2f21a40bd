"""The two directions of a client's connection, for content handlers: asyncio's names and meaning,
with the bytes kept and moved by the data plane."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from qanat._native import BusyError, LackError
from qanat.handlers.errors import BufferLimitError, ClientClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from qanat._native import Stream

    Buffer = bytes | bytearray | memoryview


T = TypeVar("T")

LINGER = 5.0
"""Seconds that a client has to end after the gateway has."""


class StreamReader:
    """What the client sends, as `asyncio.StreamReader`.

    Up to 64 KiB are read ahead, which also bounds `readline` and `readuntil`. One task reads at a
    time: a second one gets `RuntimeError`. A read that is cancelled or timed out takes nothing.
    All raise `ConnectionResetError` once the connection is broken.
    """

    __slots__ = ("_arrival", "_stream")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._arrival = stream.arrival

    def read(self, n: int = -1) -> Coroutine[Any, Any, bytes]:
        """Read what there is, at most `n` bytes; wait if there is nothing, but not at the end,
        which gives `b""`. Without `n`, read to the end, however much that is."""
        return self._read_to_end() if n < 0 else self._get(self._stream.read, n)

    def readline(self) -> Coroutine[Any, Any, bytes]:
        r"""Read up to and including `\n`; at the end, what is left of a line, or `b""`.

        Raises `BufferLimitError`, a `ValueError`, if 64 KiB hold no end of a line; they are
        dropped.
        """
        return self._get_line()

    def readexactly(self, n: int) -> Coroutine[Any, Any, bytes]:
        """Read `n` bytes.

        Raises `ClientClosedError`, an `asyncio.IncompleteReadError` with the bytes that came in
        `partial`, if the client ends before, and `ValueError` if `n` is negative.
        """
        if n < 0:
            raise ValueError("readexactly size can not be less than zero")
        return self._get(self._stream.read_exactly, n, n)

    def readuntil(self, separator: bytes | tuple[bytes, ...] = b"\n") -> Coroutine[Any, Any, bytes]:
        """Read up to and including a separator; of several, the one that ends first.

        Raises `ClientClosedError` (an `asyncio.IncompleteReadError`) if the client ends before,
        and `BufferLimitError` (an `asyncio.LimitOverrunError`) if 64 KiB hold no separator: they
        stay, to be read otherwise. An empty separator is a `ValueError`.
        """
        separators = list(separator) if isinstance(separator, tuple) else [separator]
        if not separators:
            raise ValueError("Separator should contain at least one element")
        if not all(separators):
            raise ValueError("Separator should be at least one-byte string")
        return self._get(self._stream.read_until, separators)

    def at_eof(self) -> bool:
        """Tell whether the client has ended its direction and everything was read."""
        return self._stream.is_at_end()

    def __aiter__(self) -> StreamReader:
        """Iterate over lines: `async for line in session.reader`."""
        return self

    async def __anext__(self) -> bytes:
        """Read the next line, as `readline`; at the end, `StopAsyncIteration`."""
        line = await self._get_line()
        if not line:
            raise StopAsyncIteration
        return line

    # What follows is short for the sake of speed: a read that has to wait calls the data plane
    # twice, one that has not, once.

    async def _get_line(self) -> bytes:
        look = self._stream.read_line
        try:
            while (line := look()) is None:
                await self._arrival
        except LackError as lack:
            self._stream.take_rest()
            raise _error_of(lack, b"", None) from None
        except BusyError:
            raise
        except BaseException:
            self._stream.give_up()
            raise
        return line

    async def _get(
        self, look: Callable[[T], bytes | None], wish: T, expected: int | None = None
    ) -> bytes:
        try:
            while (data := look(wish)) is None:
                await self._arrival
        except LackError as lack:
            partial = self._stream.take_rest() if lack.args[0] == "ended" else b""
            raise _error_of(lack, partial, expected) from None
        except BusyError:
            raise
        except BaseException:
            self._stream.give_up()
            raise
        return data

    async def _read_to_end(self) -> bytes:
        pieces: list[bytes] = []
        try:
            while piece := await self._get(self._stream.read, self._stream.LIMIT):
                pieces.append(piece)
        except asyncio.CancelledError:
            self._stream.give_back(b"".join(pieces))
            raise
        return b"".join(pieces)


class StreamWriter:
    """What the client is sent, as `asyncio.StreamWriter`.

    Several tasks may write. `write` never waits: `drain` does, while more than 64 KiB have not been
    taken by the client.
    """

    __slots__ = ("_news", "_peers", "_stream")

    def __init__(
        self,
        stream: Stream,
        news: Callable[[], Awaitable[None]],
        peers: Callable[[], dict[str, tuple[str, int]]],
    ) -> None:
        self._stream = stream
        self._news = news
        self._peers = peers

    def write(self, data: Buffer) -> None:
        """Send bytes, without waiting.

        Raises `RuntimeError` after `write_eof` or `close`, and `BufferError` if 16 MiB wait
        already.
        """
        self._stream.write(data if type(data) is bytes else bytes(memoryview(data)))

    def writelines(self, data: Iterable[Buffer]) -> None:
        """Send several pieces, without waiting. Raises as `write`."""
        self.write(b"".join(data))

    async def drain(self) -> None:
        """Wait while too much has not been taken by the client.

        Raises `ConnectionResetError` if the connection is broken.
        """
        while self._stream.is_congested():
            await self._news()

    def write_eof(self) -> None:
        """End this direction once everything is sent; the client's may go on."""
        self._stream.end()

    def can_write_eof(self) -> bool:
        """Tell whether one direction can end without the other: always."""
        return True

    def is_closing(self) -> bool:
        """Tell whether the connection is closed, or being closed."""
        return self._stream.is_closing()

    def close(self) -> None:
        """Close, without waiting: what was written is sent, then the client has 5 seconds to end
        as well, so that it gets no reset. What it still sends is thrown away."""
        self._stream.close(LINGER)

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, by either side."""
        while not self._stream.is_closed():
            await self._news()

    def get_extra_info(self, name: str, default: object = None) -> Any:  # noqa: ANN401 - as asyncio
        """Return `peername` or `sockname`, a tuple of address and port; else `default`. For what is
        known of TLS see `ContentSession.tls`."""
        return self._peers().get(name, default)


def _error_of(lack: LackError, partial: bytes, expected: int | None) -> Exception:
    why, count = lack.args
    if why == "ended":
        return ClientClosedError(partial, expected)
    return BufferLimitError("Separator is not found, and chunk exceed the limit", count)
