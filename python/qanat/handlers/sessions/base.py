"""What the sessions of all phases have."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

from qanat._native import PhaseError, first_frame
from qanat.handlers.errors import RejectedError
from qanat.handlers.frames import Frame

if TYPE_CHECKING:
    from qanat._native import Session


_ELSEWHERE: set[str] = set()


def note_names(classes: tuple[type[Phase], ...]) -> None:
    """Note what the classes of all phases offer: using it in another phase is told apart from a
    slip of the pen."""
    _ELSEWHERE.update(name for one in classes for name in dir(one) if not name.startswith("_"))


class Variables:
    """The variables of the configuration, by name, in any case: `session.vars["remote_addr"]`.

    Values are text; bytes that are not UTF-8 are replaced. A variable that is set here can be used
    in `log_format`, `map`, `hash` and `proxy_pass`; there has to be a `set` of it in the
    configuration then, for its name to be known. All raise `PhaseError` once the call is over.
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
        """Set a variable, for the rest of the session; raise `PhaseError` for a built-in one."""
        data = value.encode() if isinstance(value, str) else value
        if not self._handle.set_variable(name, data):
            raise PhaseError(f"${name} cannot be set")


class Phase:
    """What the sessions of all phases have.

    A session is that of one call: what it offers raises `PhaseError` once the call is over, and so
    does what another phase offers.
    """

    __slots__ = ("_ctx", "_handle", "_waiters")

    def __init__(self, handle: Session) -> None:
        self._handle = handle
        self._ctx: SimpleNamespace | None = None
        self._waiters: set[asyncio.Future[None]] | None = None

    @property
    def vars(self) -> Variables:
        """The variables of the configuration, as `ngx.var` in OpenResty."""
        return Variables(self._handle)

    @property
    def ctx(self) -> SimpleNamespace:
        """What handlers of this session keep, from the first phase to the log: any attributes.

        One that no handler has set is an `AttributeError`. As `ngx.ctx` in OpenResty.
        """
        if self._ctx is None:
            kept: Any = self._handle.context()
            if kept is None:
                kept = SimpleNamespace()
                self._handle.set_context(kept)
            self._ctx = kept
        return self._ctx

    @property
    def id(self) -> int:
        """The number of the session in this process, as `$connection` has it."""
        return int(self.vars["connection"])

    @property
    def client(self) -> tuple[str, int]:
        """Address and port of the client, as `$remote_addr` has it: after PROXY protocol and
        `set_real_ip_from`. Of a client on a unix socket, `unix:` and 0."""
        return self.vars.get("remote_addr"), int(self.vars.get("remote_port") or 0)

    @property
    def server(self) -> tuple[str, int]:
        """Address and port that the client connected to, as `$server_addr` has it."""
        return self.vars.get("server_addr"), int(self.vars.get("server_port") or 0)

    @property
    def phase(self) -> str:
        """The name of the phase, as in the name of its directive: `preread`."""
        return self._handle.phase

    def wake(self) -> None:
        """Let those that wait for the client look again."""
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)

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

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if name in _ELSEWHERE:
                raise PhaseError(f'"{name}" cannot be used in the {self.phase} phase')
            raise AttributeError(f'a session in the {self.phase} phase has no "{name}"')


class Framed(Phase):
    """A phase that comes after the client's first frame, if the configuration has a `frame`."""

    __slots__ = ()

    @property
    def frame(self) -> Frame:
        """The frame that the session began with. It is there until the log, whatever was taken.

        Raise `PhaseError` if there is no `frame` block in the configuration.
        """
        parts = first_frame(self._handle)
        if parts is None:
            raise PhaseError('the server has no "frame" block')
        return Frame(parts)


class Rejecting(Phase):
    """A phase that can end the session, with last words for the client."""

    __slots__ = ()

    def reject(self, status: int, text: bytes = b"") -> NoReturn:
        """End the session with a status from 100 to 599 for the log, after sending a text, whole
        even if the client is still sending; the handler ends here, and those after it do not run.

        Before TLS begins (the access phase of a TLS listener) there is nobody to send it to. Raise
        `RejectedError`, which ends the handler, and `ValueError` for another status.
        """
        reject_with(self._handle, status, text)


def reject_with(handle: Session, status: int, text: bytes) -> NoReturn:
    """End the session of a handle with a status and last words; the handler ends here."""
    if not 100 <= status <= 599:
        raise ValueError(f"{status} is not a status from 100 to 599")
    handle.reject(status, text)
    raise RejectedError(status)
