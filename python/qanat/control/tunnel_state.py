"""What is kept of tunnels: all that there is by name, and records of what the API added."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qanat.compiler.tunnels import Bound, Tunnels

if TYPE_CHECKING:
    from qanat.store.base import StoredTunnel

# ("peer", NAME), ("tunnel", NAME), ("local", SERVICE), ("remote", SERVICE) or
# ("bind", "KIND:TUNNEL/SERVICE")
TunnelKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SkippedTunnel:
    """A stored tunnel, service or binding that cannot be used at present; it stays in the store."""

    record: StoredTunnel
    message: str


@dataclass(frozen=True, slots=True)
class TunnelChange:
    """The record of a tunnel, a service or a binding before and after a change."""

    key: TunnelKey
    before: StoredTunnel | None
    after: StoredTunnel | None


@dataclass(slots=True)
class TunnelState:
    """All tunnels, services and bindings; those of the file among them; and records by key."""

    model: Tunnels = field(default_factory=Tunnels)
    records: dict[TunnelKey, StoredTunnel] = field(default_factory=dict)
    skipped: dict[TunnelKey, SkippedTunnel] = field(default_factory=dict)

    def keep(self, change: TunnelChange) -> None:
        """Keep the record that a change leaves."""
        self.skipped.pop(change.key, None)
        if change.after is None:
            self.records.pop(change.key, None)
        else:
            self.records[change.key] = change.after


def copy_of(model: Tunnels) -> Tunnels:
    """Copy a model, whose values never change."""
    return Tunnels(
        peers=dict(model.peers),
        tunnels=dict(model.tunnels),
        local=dict(model.local),
        remote=dict(model.remote),
        local_bindings=dict(model.local_bindings),
        remote_bindings=dict(model.remote_bindings),
        level=model.level,
    )


def bound_to(bindings: dict[str, Bound], service: str, tunnel: str) -> bool:
    """Tell whether a service is bound to a tunnel."""
    return tunnel in bindings.get(service, Bound()).tunnels
