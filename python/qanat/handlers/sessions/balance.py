"""A session in the balance phase."""

from __future__ import annotations

from typing import NamedTuple, NoReturn

from qanat.handlers.sessions.base import Phase, reject_with


class Failure(NamedTuple):
    """Why an attempt to reach a peer failed."""

    peer: str
    reason: str


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
        reject_with(self._handle, status, b"")

    def more_tries(self, count: int = 1) -> None:
        """Ask to be called again if this attempt fails, and so for `count` attempts in all.

        `proxy_next_upstream`, `proxy_next_upstream_tries` and `proxy_next_upstream_timeout` still
        limit them.
        """
        self._handle.more_tries(count)
