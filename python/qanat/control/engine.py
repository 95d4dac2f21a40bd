"""The data plane as `control` sees it, and the only way to the extension.

`prepare` does everything that can fail, so that a change can be stored between it and `commit`. The
extension is imported where it is used: checks, documentation and unit tests run without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from qanat.compiler.plan import ChangeSet, Options
from qanat.control.errors import ListenRefused, PlanRefused, WorkerLate

if TYPE_CHECKING:
    from qanat._native import Gateway

_encoder = msgspec.msgpack.Encoder()


class Engine(Protocol):
    """A data plane that is told its plan by change sets."""

    def prepare(self, change: ChangeSet) -> int:
        """Validate, bind, and show nothing yet. Raise `PlanRefused` or `ListenRefused`."""

    def commit(self, ticket: int) -> None:
        """Make a prepared change live on every worker before returning.

        Raise `WorkerLate` if one does not follow in time: the change is live all the same.
        """

    def abort(self, ticket: int) -> None:
        """Drop a prepared change."""

    def snapshot(self, what: str) -> bytes:
        """Read state as MessagePack."""

    def explain_rules(self, query: bytes) -> bytes | None:
        """Ask rules about a session that might come; `None` if there is no such table."""

    def probe_tunnel(self, name: str, dial: str, peer: str | None) -> str | None:
        """Try whether a tunnel could be brought up; return why not. Blocks."""

    def wait_for_tunnel(self, name: str, seconds: float) -> bool:
        """Wait until a tunnel is up; false if it is not in time. Blocks."""

    def close_tunnel(self, name: str) -> bool:
        """End a tunnel that the other end has dialled."""

    def leave_tunnel(self, name: str, seconds: float) -> None:
        """Open and take no more streams on a tunnel."""

    def reset_streams(self, service: str, *, local: bool, tunnel: str | None = None) -> None:
        """Reset the streams of a service."""

    def log(self, level: str, message: str) -> None:
        """Write a line to the main error log."""

    def reopen_logs(self) -> None:
        """Open every log file anew."""

    def drain(self) -> None:
        """Close all listening sockets; sessions go on."""

    def sessions(self) -> int:
        """Count the open sessions."""

    def stop(self) -> None:
        """End every session and the data plane."""


class NativeEngine:
    """The data plane of the extension. Make it with `open_engine`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        # Reading and ending need no translation.
        self.abort = gateway.abort
        self.snapshot = gateway.snapshot
        self.explain_rules = gateway.explain_rules
        self.probe_tunnel = gateway.probe_tunnel
        self.wait_for_tunnel = gateway.wait_for_tunnel
        self.close_tunnel = gateway.close_tunnel
        self.leave_tunnel = gateway.leave_tunnel
        self.reset_streams = gateway.reset_streams
        self.log = gateway.log
        self.reopen_logs = gateway.reopen_logs
        self.drain = gateway.drain
        self.sessions = gateway.sessions
        self.stop = gateway.stop
        self.bridge = gateway.bridge

    def prepare(self, change: ChangeSet) -> int:
        """Validate, bind, and show nothing yet. Raise `PlanRefused` or `ListenRefused`."""
        from qanat._native import ListenError, PlanError  # noqa: PLC0415 - see the module

        try:
            return self._gateway.prepare(_encoder.encode(change))
        except PlanError as error:
            raise plan_refused(error) from error
        except ListenError as error:
            raise ListenRefused(
                str(error.filename), error.errno or 0, error.strerror or str(error)
            ) from error

    def commit(self, ticket: int) -> None:
        """Make a prepared change live. Raise `WorkerLate`: it is live all the same."""
        try:
            self._gateway.commit(ticket)
        except RuntimeError as error:
            raise WorkerLate(f"the change is stored and live, but {error}") from error


def open_engine(workers: int) -> NativeEngine:
    """Start the data plane with its worker threads, serving nothing yet."""
    from qanat._native import Gateway  # noqa: PLC0415 - see the module

    return NativeEngine(Gateway(_encoder.encode(Options(workers=workers))))


def check_plan(change: ChangeSet) -> None:
    """Validate a change set that starts from nothing, opening no socket. Raise `PlanRefused`."""
    from qanat._native import PlanError, check  # noqa: PLC0415 - see the module

    try:
        check(_encoder.encode(change))
    except PlanError as error:
        raise plan_refused(error) from error


def plan_refused(error: ValueError) -> PlanRefused:
    """Translate the extension's `PlanError`; an error of another shape keeps its text."""
    if len(error.args) == 5:
        kind, ident, field, reason, origin = (str(arg) for arg in error.args)
        return PlanRefused(kind, ident, field, reason, origin)
    return PlanRefused("change_set", "", "", str(error), "")
