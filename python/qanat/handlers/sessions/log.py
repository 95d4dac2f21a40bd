"""A session that has ended."""

from __future__ import annotations

from qanat.handlers.sessions.base import Framed
from qanat.handlers.sessions.encrypted import Encrypted


class LogRecord(Framed, Encrypted):
    """A session that has ended, before its line of the access log is written.

    The handler returns nothing, and cannot wait for the client or change how the session ended;
    variables that it sets are in that line.
    """

    __slots__ = ()

    @property
    def status(self) -> int:
        """How the session ended, as `$status` has it: 200, 400, 403, 499, 500, 502, 503, or what
        a handler said."""
        return int(self.vars["status"])

    @property
    def bytes_received(self) -> int:
        """How many bytes came from the client, as `$bytes_received` has it."""
        return int(self.vars["bytes_received"])

    @property
    def bytes_sent(self) -> int:
        """How many bytes were sent to the client, as `$bytes_sent` has it."""
        return int(self.vars["bytes_sent"])

    @property
    def seconds(self) -> float:
        """How long the session took, in seconds with milliseconds, as `$session_time` has it."""
        return float(self.vars["session_time"])

    @property
    def peers(self) -> tuple[str, ...]:
        """The addresses of the peers that were tried, in order, as `$upstream_addr` has them."""
        tried = self.vars.get("upstream_addr")
        return tuple(tried.split(", ")) if tried else ()
