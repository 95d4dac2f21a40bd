"""A session in the balance phase."""

from __future__ import annotations

from typing import Literal, NamedTuple, NoReturn, TypeAlias

from qanat.handlers.sessions.base import Framed, reject_with
from qanat.handlers.sessions.encrypted import Encrypted

FailureState: TypeAlias = Literal["refused", "timed_out", "reset", "unreachable", "tls", "failed"]


class Failure(NamedTuple):
    """Why an attempt to reach a peer failed."""

    peer: str
    """The address of the peer, which balancers take in `exclude`."""
    reason: str
    """What the line of the error log says."""
    state: FailureState
    """What kind of failure it was.

    `refused`; `timed_out` (`proxy_connect_timeout`, or the peer's own); `reset` (the peer broke the
    connection); `unreachable` (no route, or no such unix socket); `tls` (the handshake failed, or
    the peer was not accepted); or `failed`.
    """


class BalanceSession(Framed, Encrypted):
    """A session that needs a peer.

    The handler returns a `Peer`, or its address, or nothing, which leaves the choice to the
    `server` lines of the upstream. It is called once, and again for a failed attempt if it has
    asked for that with `more_tries`. As `balancer_by_lua` with `ngx.balancer` in OpenResty, but it
    may wait.
    """

    __slots__ = ()

    @property
    def tries(self) -> int:
        """How many attempts to reach a peer were made before: 0 in the first call."""
        return self._handle.tries

    @property
    def last_failure(self) -> Failure | None:
        """Why the last of them failed; `None` in the first call."""
        failure = self._handle.last_failure
        return None if failure is None else Failure(*failure)

    def reject(self, status: int) -> NoReturn:
        """End the session with a status from 100 to 599 for the log; the handler ends here.

        Raise `RejectedError`, which ends the handler, and `ValueError` for another status.
        """
        reject_with(self._handle, status, b"")

    def more_tries(self, count: int = 1) -> int:
        """Ask to be called again if this attempt fails, and so for `count` more attempts.

        Return how many of them there can be: `proxy_next_upstream off` allows none, and
        `proxy_next_upstream_tries` limits all attempts together, to 100 if it is 0.
        `proxy_next_upstream_timeout` may still end them early. As
        `set_more_tries` of `ngx.balancer`.
        """
        return self._handle.more_tries(count)
