"""A UDP session whose client is answered by a content handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat._native import LackError, PhaseError
from qanat.handlers.sessions.base import Rejecting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from qanat._native import Datagrams, Session


class DatagramSession(Rejecting):
    """The datagrams that one client sends to one address of a listener, and those sent back.

    The session begins with a datagram and ends when the handler returns; the client's next datagram
    then begins another one. After `proxy_timeout` without a datagram in either direction nothing
    more is received, and the handler has `python_timeout` to end.
    """

    __slots__ = ("_datagrams", "_is_reading")

    def __init__(self, handle: Session) -> None:
        super().__init__(handle)
        datagrams = handle.datagrams
        assert datagrams is not None  # noqa: S101 - this class is chosen for it
        self._datagrams: Datagrams = datagrams
        self._is_reading = False

    def datagrams(self) -> AsyncIterator[bytes]:
        """Iterate over the datagrams of the client as they come, until it is silent for too long.

        Each is whole, up to 65,507 bytes, and may be empty. Raise `PhaseError` if another task
        waits for one.
        """
        return _Arriving(self)

    def receive_nowait(self) -> bytes | None:
        """Take the next datagram if it is here, else `None`; the first one is, when the handler is
        called."""
        try:
            return self._datagrams.receive()
        except LackError:
            return None

    def send(self, data: bytes) -> bool:
        """Send a datagram to the client, from the address that it sent to; do not wait.

        Tell whether it was taken: it is lost if 1 MiB of this session is on its way already. What
        the system or the network loses later is not told. Raise `OSError` with `EMSGSIZE` for more
        than 65,507 bytes.
        """
        return self._datagrams.send(data)

    @property
    def dropped(self) -> int:
        """How many datagrams of the client were lost because 1024 of them, or 1 MiB, waited."""
        return self._datagrams.dropped()

    async def receive(self) -> bytes | None:
        """Wait for the next datagram; `None` if no more are received.

        Raise `PhaseError` if another task waits for one.
        """
        if self._is_reading:
            raise PhaseError("another task is waiting for a datagram of this session")
        try:
            if (data := self._datagrams.receive()) is not None:
                return data
            self._is_reading = True
            try:
                while (data := self._datagrams.receive()) is None:
                    await self._news()
            finally:
                self._is_reading = False
                self._datagrams.give_up()
        except LackError:
            return None
        return data


class _Arriving:
    """An iterator over what a client sends."""

    __slots__ = ("_session",)

    def __init__(self, session: DatagramSession) -> None:
        self._session = session

    def __aiter__(self) -> _Arriving:
        return self

    async def __anext__(self) -> bytes:
        data = await self._session.receive()
        if data is None:
            raise StopAsyncIteration
        return data
