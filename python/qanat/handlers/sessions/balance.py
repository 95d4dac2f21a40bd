"""A session in the balance phase."""

from __future__ import annotations

from typing import Literal, NamedTuple, NoReturn, TypeAlias

from qanat.handlers.sessions.base import Framed, reject_with

FailureState: TypeAlias = Literal["refused", "timed_out", "reset", "unreachable", "tls", "failed"]


class Failure(NamedTuple):
    """Why an attempt to reach a peer failed.

    `peer` is its address, which balancers take in `exclude`; `reason` is the line of the error log.
    `state` is one of `refused`, `timed_out` (`proxy_connect_timeout` or the peer's own),
    `reset` (the peer broke the connection), `unreachable` (no route, or no such unix socket),
    `tls` (the handshake failed, or the peer could not be verified) and `failed`.
    """

    peer: str
    reason: str
    state: FailureState


class BalanceSession(Framed):
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

    def more_tries(self, count: int = 1) -> int:
        """Ask to be called again if this attempt fails, and so for `count` more attempts.

        Return how many of them there can be: `proxy_next_upstream off` allows none, and
        `proxy_next_upstream_tries` limits all attempts together. `proxy_next_upstream_timeout` may
        still end them early.
        """
        return self._handle.more_tries(count)
