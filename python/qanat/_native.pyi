"""The extension: the data plane in Rust. Bytes, numbers and frozen handles cross.

Only `control.engine` imports this.
"""

from typing import final

__all__ = ["Gateway", "ListenError", "PlanError", "check", "variable_names"]

class PlanError(ValueError):
    """A change set that cannot be run. `args` is `(kind, id, field, message, origin)`, all `str`.

    `kind` is the plural field of `Objects` (`servers`), or `change_set`; `field` is the field at
    fault or empty; `origin` is the `FILE:LINE` known to the plan or empty.
    """

class ListenError(OSError):
    """A listener that cannot be bound.

    `errno` and `strerror` are the system's, `filename` is the listener's id.
    """

@final
class Gateway:
    """A running data plane: worker threads that serve the current plan.

    A change is made in two steps so that it can be stored in between: `prepare` does everything
    that can fail.
    """

    def __new__(cls, options: bytes) -> Gateway: ...
    def prepare(self, change_set: bytes) -> int:
        """Validate and link a change set and bind its sockets, unseen. Return a ticket.

        At most one ticket is open at a time. Raise `PlanError` or `ListenError`, with nothing
        changed.
        """

    def commit(self, ticket: int) -> None:
        """Make a prepared change live on every worker before returning.

        Raise `KeyError` for an unknown ticket, `RuntimeError` if a worker does not answer in time:
        the change is live all the same.
        """

    def abort(self, ticket: int) -> None:
        """Drop a prepared change and close the sockets it bound."""

    def snapshot(self, what: str) -> bytes:
        """Read state as MessagePack: `status`, `listeners`, `servers` or `upstreams`.

        Raise `ValueError` for others.
        """

    def log(self, level: str, message: str) -> None:
        """Write a line to the main error log, if its level admits it."""

    def reopen_logs(self) -> None:
        """Open every log file anew (after rotation)."""

    def drain(self) -> None:
        """Close all listening sockets; sessions go on. Returns at once."""

    def sessions(self) -> int:
        """Count the sessions that are open."""

    def stop(self) -> None:
        """End every session, stop the workers, write out the logs.

        The gateway cannot be used afterwards.
        """

def check(change_set: bytes) -> None:
    """Validate a change set that starts from nothing, opening no socket. Raise `PlanError`."""

def variable_names() -> list[str]:
    """List the built-in variables that the data plane knows.

    Prefixes such as `proxy_protocol_tlv_` end in `_`.
    """
