"""A session as each phase sees it. What a phase may not do, its class does not have."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from qanat._native import LackError, PhaseError
from qanat.handlers.errors import (
    BufferLimitError,
    ClientClosedError,
    ClientTimeoutError,
    RejectedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from qanat._native import Session


T = TypeVar("T")


class Failure(NamedTuple):
    """Why an attempt to reach a peer failed."""

    peer: str
    reason: str


class Variables:
    """The variables of the configuration: `session.vars["remote_addr"]`.

    A variable that is set here can be used in `log_format`, `map`, `hash` and `proxy_pass`; there
    has to be a `set` of it in the configuration then, for its name to be known.
    """

    __slots__ = ("_handle",)

    def __init__(self, handle: Session) -> None:
        self._handle = handle

    def __getitem__(self, name: str) -> str:
        """Return the value; raise `KeyError` if the variable has none."""
        value = self._handle.variable(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, name: str, default: str = "") -> str:
        """Return the value, or `default` if the variable has none."""
        value = self._handle.variable(name)
        return default if value is None else value

    def __contains__(self, name: str) -> bool:
        """Tell whether the variable has a value."""
        return self._handle.variable(name) is not None

    def __setitem__(self, name: str, value: str | bytes) -> None:
        """Set a variable; raise `PhaseError` for a built-in one."""
        data = value.encode() if isinstance(value, str) else value
        if not self._handle.set_variable(name, data):
            raise PhaseError(f"${name} cannot be set")


class Phase:
    """What all phases have."""

    __slots__ = ("_ctx", "_handle", "_waiters", "vars")

    def __init__(self, handle: Session) -> None:
        self._handle = handle
        self._ctx: SimpleNamespace | None = None
        self._waiters: set[asyncio.Future[None]] | None = None
        self.vars = Variables(handle)

    @property
    def ctx(self) -> SimpleNamespace:
        """What handlers of this session keep, from the first phase to the log: any attributes."""
        if self._ctx is None:
            kept: Any = self._handle.context()
            if kept is None:
                kept = SimpleNamespace()
                self._handle.set_context(kept)
            self._ctx = kept
        return self._ctx

    @property
    def id(self) -> int:
        """The number of the session, `$connection`."""
        return int(self.vars["connection"])

    @property
    def client(self) -> tuple[str, int]:
        """Address and port of the client; the path of a unix socket and 0."""
        return self.vars.get("remote_addr"), int(self.vars.get("remote_port") or 0)

    @property
    def server(self) -> tuple[str, int]:
        """Address and port that the client connected to."""
        return self.vars.get("server_addr"), int(self.vars.get("server_port") or 0)

    @property
    def phase(self) -> str:
        """The name of the phase."""
        return self._handle.phase

    def wake(self) -> None:
        """Let those that wait for the client look again."""
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if name in _ELSEWHERE:
                raise PhaseError(f'"{name}" cannot be used in the {self.phase} phase')
            raise AttributeError(f'a session in the {self.phase} phase has no "{name}"')


class Rejecting(Phase):
    """A phase that can end the session, with last words for the client."""

    __slots__ = ()

    def reject(self, status: int, text: bytes = b"") -> NoReturn:
        """End the session with a status, after sending a text; the handler ends here.

        Before TLS begins (the access phase of a TLS listener) there is nobody to send it to.
        """
        _reject(self._handle, status, text)


def _reject(handle: Session, status: int, text: bytes) -> NoReturn:
    if not 100 <= status <= 599:
        raise ValueError(f"{status} is not a status from 100 to 599")
    handle.reject(status, text)
    raise RejectedError(status)


class AccessSession(Rejecting):
    """A client that has connected; nothing was read yet."""

    __slots__ = ()


class PrereadSession(Rejecting):
    """A client whose first bytes can be looked at, or taken.

    Whatever is not taken goes to the peer. Waiting for the client is bounded by `preread_timeout`,
    and what is looked at by `preread_buffer_size`.
    """

    __slots__ = ("_is_reading",)

    def __init__(self, handle: Session) -> None:
        super().__init__(handle)
        self._is_reading = False

    async def peek(self, count: int) -> bytes:
        """Look at the next `count` bytes, which stay where they are."""
        return await self._read(self._handle.peek, count, count)

    async def peek_until(self, separator: bytes = b"\n") -> bytes:
        """Look at the bytes up to and including a separator, which stay where they are."""
        return await self._read(self._handle.peek_until, _separator(separator), None)

    async def read_exactly(self, count: int) -> bytes:
        """Take the next `count` bytes: the peer will not see them."""
        return await self._read(self._handle.read_exactly, count, count)

    async def read_until(self, separator: bytes = b"\n") -> bytes:
        """Take the bytes up to and including a separator."""
        return await self._read(self._handle.read_until, _separator(separator), None)

    async def read(self, most: int) -> bytes:
        """Take what there is: at least one byte, at most `most`; nothing at the end."""
        try:
            return await self._read(self._handle.read, most, None)
        except ClientClosedError:
            return b""

    def unread(self, data: bytes) -> None:
        """Give bytes back, to be the next ones again."""
        if not self._handle.unread(data):
            raise BufferLimitError("more bytes than preread_buffer_size allows", len(data))

    async def write(self, data: bytes) -> None:
        """Send bytes to the client; wait if it does not take them."""
        if self._handle.write(data):
            while self._handle.is_draining():
                await self._news()

    async def _read(self, look: Callable[[T], bytes | None], wish: T, count: int | None) -> bytes:
        if self._is_reading:
            raise PhaseError("another task is reading from this session")
        try:
            if (data := look(wish)) is not None:
                return data
            self._is_reading = True
            try:
                while (data := look(wish)) is None:
                    await self._news()
            finally:
                self._is_reading = False
                self._handle.give_up()
        except LackError as lack:
            raise _error_of(lack, count) from None
        return data

    async def _news(self) -> None:
        """Wait until something has happened to the session."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = set()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)


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


class BalanceSession(Phase):
    """A session that needs a peer. The handler returns a `Peer` (or an address), or nothing to
    leave the choice to the `server` lines of the upstream."""

    __slots__ = ()

    @property
    def tries(self) -> int:
        """How many attempts were made before."""
        return self._handle.tries

    @property
    def last_failure(self) -> Failure | None:
        """Why the last of them failed."""
        failure = self._handle.last_failure
        return None if failure is None else Failure(*failure)

    def reject(self, status: int) -> NoReturn:
        """End the session with a status; the handler ends here."""
        _reject(self._handle, status, b"")

    def more_tries(self, count: int = 1) -> None:
        """Ask to be called again if this attempt fails, and so for `count` attempts in all.

        `proxy_next_upstream`, `proxy_next_upstream_tries` and `proxy_next_upstream_timeout` still
        limit them.
        """
        self._handle.more_tries(count)


class LogRecord(Phase):
    """A session that has ended, before its line of the access log is written."""

    __slots__ = ()

    @property
    def status(self) -> int:
        """The status, `$status`."""
        return int(self.vars["status"])

    @property
    def bytes_received(self) -> int:
        """Bytes from the client."""
        return int(self.vars["bytes_received"])

    @property
    def bytes_sent(self) -> int:
        """Bytes to the client."""
        return int(self.vars["bytes_sent"])

    @property
    def seconds(self) -> float:
        """How long it took."""
        return float(self.vars["session_time"])

    @property
    def peers(self) -> tuple[str, ...]:
        """The peers that were tried, in order."""
        tried = self.vars.get("upstream_addr")
        return tuple(tried.split(", ")) if tried else ()


CLASSES: dict[str, type[Phase]] = {
    "access": AccessSession,
    "preread": PrereadSession,
    "balance": BalanceSession,
    "log": LogRecord,
}

_ELSEWHERE = frozenset(
    name for one in CLASSES.values() for name in dir(one) if not name.startswith("_")
)
