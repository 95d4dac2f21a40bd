"""A session that has ended."""

from __future__ import annotations

from qanat.handlers.sessions.base import Framed


class LogRecord(Framed):
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
