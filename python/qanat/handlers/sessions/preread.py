"""A session in the preread phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from qanat._native import LackError, PhaseError, look_for_frame
from qanat.handlers.errors import BufferLimitError, ClientClosedError, ClientTimeoutError
from qanat.handlers.frames import Frame
from qanat.handlers.sessions.base import Framed, Rejecting
from qanat.handlers.sessions.encrypted import Encrypted

if TYPE_CHECKING:
    from collections.abc import Callable

    from qanat._native import FrameParser, Session
    from qanat.handlers.frames import FrameFormat, Parts


R = TypeVar("R")
T = TypeVar("T")


class PrereadSession(Framed, Encrypted, Rejecting):
    """A client whose first bytes can be looked at, or taken, before there is a peer.

    Every byte that is not taken goes to the peer. One task reads at a time: a second one gets
    `PhaseError`. What waits for bytes of the client raises

    - `ClientTimeoutError` (a `TimeoutError`) when it has waited for `preread_timeout`,
    - `BufferLimitError` (an `asyncio.LimitOverrunError`) when it needs more than
      `preread_buffer_size`,
    - `ClientClosedError` (an `asyncio.IncompleteReadError`) when the client has ended before.

    A handler may catch them and still answer the client; otherwise they end the session with
    status 200, 400 and 200. Cancelling a read takes nothing. As the socket of `preread_by_lua`.
    """

    __slots__ = ("_is_reading",)

    def __init__(self, handle: Session) -> None:
        super().__init__(handle)
        self._is_reading = False

    async def peek(self, count: int) -> bytes:
        """Look at the next `count` bytes, which stay where they are; not at less."""
        look = self._handle.peek
        if (found := self._look(look, count, count)) is not None:
            return found
        return await self._read(look, count, count)

    async def peek_until(self, separator: bytes = b"\n") -> bytes:
        """Look at the bytes up to and including a separator, which stay where they are.

        Raise `ValueError` for an empty one.
        """
        look = self._handle.peek_until
        wish = _separator(separator)
        if (found := self._look(look, wish, None)) is not None:
            return found
        return await self._read(look, wish, None)

    async def read_exactly(self, count: int) -> bytes:
        """Take the next `count` bytes, not less: the peer will not see them."""
        look = self._handle.read_exactly
        if (found := self._look(look, count, count)) is not None:
            return found
        return await self._read(look, count, count)

    async def read_until(self, separator: bytes = b"\n") -> bytes:
        """Take the bytes up to and including a separator: the peer will not see them.

        Raise `ValueError` for an empty one.
        """
        look = self._handle.read_until
        wish = _separator(separator)
        if (found := self._look(look, wish, None)) is not None:
            return found
        return await self._read(look, wish, None)

    async def read(self, most: int) -> bytes:
        """Take what there is, at least one byte and at most `most`: the peer will not see them.

        At the end of what the client sends it is `b""`.
        """
        look = self._handle.read
        try:
            if (found := self._look(look, most, None)) is not None:
                return found
            return await self._read(look, most, None)
        except ClientClosedError:
            return b""

    async def peek_frame(self, format: FrameFormat | None = None) -> Frame:
        """Look at the next frame, which stays where it is.

        Without a format, it is the `frame` block of the configuration that says what a frame is.
        Raise `FrameError` if the bytes are none.
        """
        return await self._frame(format, takes=False)

    async def read_frame(self, format: FrameFormat | None = None) -> Frame:
        """Take the next frame: the peer will not see it. Otherwise as `peek_frame`."""
        return await self._frame(format, takes=True)

    async def _frame(self, format: FrameFormat | None, *, takes: bool) -> Frame:
        def look(parser: FrameParser | None) -> Parts | None:
            return look_for_frame(self._handle, parser, takes)

        parser = None if format is None else format.parser
        if (found := self._look(look, parser, None)) is not None:
            return Frame(found)
        return Frame(await self._read(look, parser, None))

    def unread(self, data: bytes) -> None:
        """Give bytes back, or put others there: they are the next ones again.

        Raise `BufferLimitError` if there is no room for them in `preread_buffer_size`.
        """
        if not self._handle.unread(data):
            raise BufferLimitError("more bytes than preread_buffer_size allows", len(data))

    async def write(self, data: bytes) -> None:
        """Send bytes to the client, under TLS if it speaks TLS; wait until it has taken them.

        Over UDP it is one datagram: raise `OSError` with `EMSGSIZE` for more than 65,507 bytes.
        """
        if self._handle.write(data):
            while self._handle.is_draining():
                await self._news()

    def _look(self, look: Callable[[T], R | None], wish: T, count: int | None) -> R | None:
        """Return what is here already; nothing if it may still come."""
        if self._is_reading:
            raise PhaseError("another task is reading from this session")
        try:
            return look(wish)
        except LackError as lack:
            raise _error_of(lack, count) from None

    async def _read(self, look: Callable[[T], R | None], wish: T, count: int | None) -> R:
        self._is_reading = True
        try:
            while (data := look(wish)) is None:
                await self._news()
        except LackError as lack:
            raise _error_of(lack, count) from None
        finally:
            self._is_reading = False
            self._handle.give_up()
        return data


def _separator(separator: bytes) -> bytes:
    if not separator:
        raise ValueError("a separator has at least one byte")
    return separator


def _error_of(lack: LackError, count: int | None) -> Exception:
    why, partial = lack.args
    if why == "ended":
        return ClientClosedError(partial, count)
    if why == "full":
        return BufferLimitError("preread buffer full", len(partial))
    return ClientTimeoutError("the client is silent")
