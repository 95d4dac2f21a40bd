"""A session whose peer has shown its certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from qanat.handlers.errors import RejectedError
from qanat.handlers.sessions.base import Phase

if TYPE_CHECKING:
    from qanat._native import Session


class VerifySession(Phase):
    """A session whose TLS handshake with a peer is over, before a byte of the client is sent there.

    The handler returns `True` to accept the peer, whatever `result` says; `False` to refuse it; or
    nothing, which leaves it to `proxy_ssl_verify`. A peer that is refused, also by an exception or
    a time-out, counts as one that cannot be reached: `proxy_next_upstream` tries the next.
    """

    __slots__ = ("_shown",)

    def __init__(self, handle: Session) -> None:
        super().__init__(handle)
        self._shown: tuple[list[bytes], str | None, str, str] | None = None

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The peer's certificates as DER, its own first; in a resumed session those that it had
        shown before."""
        return tuple(self._read()[0])

    @property
    def result(self) -> str | None:
        """What speaks against them: `verify error: (10:certificate has expired)`.

        `None` only if they lead to one of `proxy_ssl_trusted_certificate` and are for `name`. With
        none to trust, that speaks against them, also if `proxy_ssl_verify` is off.
        """
        return self._read()[1]

    @property
    def name(self) -> str:
        """The name that was asked for: the handler's, or `proxy_ssl_name`."""
        return self._read()[2]

    @property
    def peer(self) -> str:
        """The peer's address, as `$upstream_addr` has it."""
        return self._read()[3]

    @property
    def tries(self) -> int:
        """How many attempts to reach a peer were made before: 0 for the first one."""
        return self._handle.tries

    def reject(self, reason: str = "") -> NoReturn:
        """Refuse the peer for a reason, which the error log tells; the handler ends here.

        Raise `RejectedError`, which ends the handler.
        """
        self._handle.reject(502, reason.encode())
        raise RejectedError(502)

    def _read(self) -> tuple[list[bytes], str | None, str, str]:
        if self._shown is None:
            self._shown = self._handle.shown() or ([], "no certificate", "", "")
        return self._shown
