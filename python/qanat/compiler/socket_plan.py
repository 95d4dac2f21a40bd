"""Options of listening sockets, as `crates/plan/src/listener.rs` has them."""

from __future__ import annotations

from qanat.compiler.record import Record


class Keepalive(Record, frozen=True, kw_only=True):
    """`so_keepalive=` of accepted sockets."""

    on: bool
    idle_s: int | None = None
    interval_s: int | None = None
    count: int | None = None


class SocketOptions(Record, frozen=True, kw_only=True):
    """Socket options of `listen`; `None` leaves the system's default."""

    backlog: int = 511
    rcvbuf: int | None = None
    sndbuf: int | None = None
    keepalive: Keepalive | None = None
    ipv6only: bool = True
    fastopen: int | None = None
    reuseport: bool = False
    deferred: bool = False
