"""The body of `/v1/apply`: peers, tunnels, services, bindings, each as its own route takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

# msgspec reads the annotations.
from qanat.api.peer_bodies import PeerBody  # noqa: TC001
from qanat.api.tunnel_bodies import LocalBody, RemoteBody, TunnelBody  # noqa: TC001
from qanat.control.tunnel_batch import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

Spec_co = TypeVar("Spec_co", covariant=True)


class _Body(Protocol[Spec_co]):
    def spec(self) -> Spec_co: ...


class ServicesBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Services by name; null removes one."""

    local: dict[str, LocalBody | None] = {}
    remote: dict[str, RemoteBody | None] = {}


class BindingsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For each service, all tunnels that it is to be bound to; an empty list unbinds it."""

    local: dict[str, list[str]] = {}
    remote: dict[str, list[str]] = {}


class ApplyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What there is to be, each as `PUT` takes it; null removes, and what is not named stays."""

    peers: dict[str, PeerBody | None] = {}
    tunnels: dict[str, TunnelBody | None] = {}
    services: ServicesBody = msgspec.field(default_factory=ServicesBody)
    bindings: BindingsBody = msgspec.field(default_factory=BindingsBody)

    def wanted(self) -> Wanted:
        """Make what the change is computed from."""
        services, bindings = self.services, self.bindings
        return Wanted(
            peers=_specs(self.peers),
            tunnels=_specs(self.tunnels),
            local=_specs(services.local),
            remote=_specs(services.remote),
            bindings={"local": _bound(bindings.local), "remote": _bound(bindings.remote)},
        )


def _specs(bodies: Mapping[str, _Body[Spec_co] | None]) -> dict[str, Spec_co | None]:
    return {name: None if body is None else body.spec() for name, body in bodies.items()}


def _bound(bindings: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(tunnels) for name, tunnels in bindings.items()}
