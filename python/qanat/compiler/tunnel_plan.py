"""Tunnels and services in the plan. Mirrors `crates/plan/src/tunnel.rs` field for field."""

from __future__ import annotations

from qanat.compiler.record import Record


class TunnelPeer(Record, frozen=True, kw_only=True):
    """`peer NAME ed25519:KEY …`."""

    name: str
    key: bytes
    tunnels: tuple[str, ...] = ()
    offer: tuple[str, ...] | None = None
    consume: tuple[str, ...] | None = None
    send_rate: int = 0
    receive_rate: int = 0
    max_streams: int = 0
    origin: str


class TunnelLimits(Record, frozen=True, kw_only=True):
    """How much of this node its tunnels may use; it changes without a connection noticing."""

    buffer_limit: int = 256 * 1024 * 1024


class TunnelNode(Record, frozen=True, kw_only=True):
    """`tunnels { … }`: who this node is to the others."""

    key: bytes
    generation: int
    secret: bytes = b""
    former_secrets: tuple[bytes, ...] = ()
    heartbeat_s: int = 10
    carriers: int = 2
    handshake_timeout_ms: int = 5000
    max_streams: int = 16_384
    limits: TunnelLimits = TunnelLimits()


class Tunnel(Record, frozen=True, kw_only=True):
    """A tunnel that this node dials."""

    name: str
    dial: str
    peer: str | None = None
    send_rate: int = 0
    receive_rate: int = 0
    origin: str


class Service(Record, frozen=True, kw_only=True):
    """A service as far as its name and its key go; `id` is `KIND:NAME`."""

    id: str
    key: bytes = b""
    pending_timeout_ms: int = 5000
    upload_rate: int = 0
    download_rate: int = 0
    stream_upload_rate: int = 0
    stream_download_rate: int = 0
    max_streams: int = 0
    origin: str


class Binding(Record, frozen=True, kw_only=True):
    """A remote service that may be opened through a tunnel; `id` is `TUNNEL/SERVICE`."""

    id: str
    listener: str
