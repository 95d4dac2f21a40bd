"""A session in the content phase."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from qanat.handlers.errors import HandshakeError
from qanat.handlers.sessions.base import Rejecting
from qanat.handlers.sessions.encrypted import Encrypted
from qanat.handlers.streams import LINGER, StreamReader, StreamWriter

if TYPE_CHECKING:
    from qanat._native import Session


class ContentSession(Encrypted, Rejecting):
    """A client that the handler answers itself.

    `reader` and `writer` are used as those of asyncio, and may be used by two tasks at once. When
    the handler returns, what it has written is sent and the connection closed, with status 200.

    The session lasts as long as the handler: `python_timeout` does not count. It ends when nobody
    has said anything for `proxy_timeout`, and with status 499 when the client resets the
    connection; the handler is cancelled then.
    """

    __slots__ = ("_stream", "_task", "reader", "writer")

    reader: StreamReader
    """What the client sends, as of `asyncio.open_connection`."""
    writer: StreamWriter
    """What the client is sent, as of `asyncio.open_connection`."""

    def __init__(self, handle: Session) -> None:
        super().__init__(handle)
        self._task: asyncio.Task[object] | None = None
        self._stream = handle.stream(asyncio.get_running_loop())
        self.reader = StreamReader(self._stream)
        self.writer = StreamWriter(self._stream, self._news, self._ends)

    async def start_tls(self) -> None:
        """Go on under TLS, with the `ssl_certificate` of the server: STARTTLS.

        What was written before is sent in the clear. What the client has sent already is taken
        for the beginning of its handshake, so that nothing said in the clear passes for something
        said under TLS.

        Raises `PhaseError` if the server has no certificate or TLS is spoken already, and
        `HandshakeError` if the client does not finish a handshake within `ssl_handshake_timeout`.
        """
        self._stream.start_tls()
        while (failure := self._stream.upgraded()) is None:
            await self._news()
        if failure:
            raise HandshakeError(failure)

    async def close(self, linger: float = LINGER) -> None:
        """Send what was written, end, and read away what the client still sends until it has ended
        as well or `linger` seconds (5) have passed: so it never sees a reset."""
        self._stream.close(linger)
        await self.writer.wait_closed()

    # `typing.override` is not in Python 3.11.
    def reject(  # type: ignore[explicit-override]
        self, status: int, text: bytes = b""
    ) -> NoReturn:
        """End the session with a status from 100 to 599 for the log, after sending what was written
        and a text. The handler ends here, and wherever else it is if this is another task.

        Raise `RejectedError`, which ends the handler, and `ValueError` for another status.
        """
        try:
            super().reject(status, text)
        finally:
            rejecting = asyncio.current_task()
            if self._task is not None and self._task is not rejecting:
                self._task.cancel()
                if rejecting is not None:
                    # Nobody has to await it to learn what the session has ended with.
                    rejecting.add_done_callback(_note_outcome)

    def run_by(self, task: asyncio.Task[object]) -> None:
        """Note the task of the handler."""
        self._task = task

    def is_unsent(self) -> bool:
        """Tell whether anything that was written has not been taken by the client."""
        return self._stream.is_unsent()

    def end(self) -> None:
        """The handler has ended: let those that still wait know."""
        self._stream.forget()
        self.wake()

    def _ends(self) -> dict[str, tuple[str, int]]:
        return {"peername": self.client, "sockname": self.server}


def _note_outcome(task: asyncio.Task[object]) -> None:
    """Take the outcome of a task, which asyncio would have the log complain about otherwise."""
    if not task.cancelled():
        task.exception()
