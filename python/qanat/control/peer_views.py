"""What the gateway shows of itself and of the gateways that it knows or is connected to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

from qanat.control.limit_views import LimitsSeen, limits_seen
from qanat.control.tunnel_identity import identity_of
from qanat.control.tunnel_views import seen_tunnels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qanat.compiler.tunnel_peers import PeerSpec
    from qanat.control.engine import Engine
    from qanat.control.state import State


class PeerCarrierView(msgspec.Struct, frozen=True):
    """A connection to another gateway."""

    tunnel: str
    index: int
    role: Literal["dialler", "acceptor"]
    address: str
    up_ms: int


class PeerView(msgspec.Struct, frozen=True, kw_only=True):
    """Another gateway: one that is `known` by its key, or that is connected by the secret.

    `tunnels` are the names that it may bring up here, any if there are none; `consume` are the
    remote services of this gateway that it may open, and `offer` its services that clients are sent
    to, null for whatever is bound. Those that stand in the file are not `dynamic`. `serving`
    counts the streams that it has open here, `limited` those that were refused because there were
    `max_streams`; its limits are those of all of its tunnels together.
    """

    name: str
    key: str
    known: bool
    tunnels: tuple[str, ...]
    offer: tuple[str, ...] | None
    consume: tuple[str, ...] | None
    send_rate: int
    receive_rate: int
    max_streams: int
    serving: int
    limited: int
    carriers: tuple[PeerCarrierView, ...]
    dynamic: bool


class HandshakesView(msgspec.Struct, frozen=True):
    """What has become of those who connected to where tunnels are brought up.

    `under_way` are trying now. Totals since the start: `succeeded`; closed unheard, because
    `crowded` (1,024 at once) or `crowded_address` (64 of one address); `not_tls`; `not_trusted`,
    with another secret or key; `refused`, because the name is taken or not allowed to them;
    without a `version` in common; broken off for what they said (`protocol`); `timed_out`.
    """

    under_way: int = 0
    succeeded: int = 0
    crowded: int = 0
    crowded_address: int = 0
    not_tls: int = 0
    not_trusted: int = 0
    refused: int = 0
    version: int = 0
    protocol: int = 0
    timed_out: int = 0


class PeersView(msgspec.Struct, frozen=True):
    """This gateway as others know it, and the others. Without `tunnels` there is no key."""

    node: str
    key: str | None
    has_secret: bool
    listen: tuple[str, ...]
    peers: tuple[PeerView, ...]
    handshakes: HandshakesView


def peers_view(state: State, engine: Engine) -> PeersView:
    """Show who this gateway is, and the others that it knows or is connected to."""
    node = state.compiled.settings.tunnels
    name = state.compiled.process.node_name
    if node is None:
        return PeersView(name, None, False, (), (), HandshakesView())
    key = load_der_private_key(node.key, None)
    public = identity_of(key).public if isinstance(key, Ed25519PrivateKey) else None
    arrivals = state.index.listeners.values()
    listen = tuple(item.address for item in arrivals if item.role == "tunnels")
    carriers: dict[str, list[PeerCarrierView]] = {}
    names: dict[str, str] = {}
    for seen in seen_tunnels(engine):
        for one in seen.carriers:
            view = PeerCarrierView(seen.name, one.index, one.role, one.address, one.up_ms)
            carriers.setdefault(one.key, []).append(view)
            names[one.key] = one.node
    known = state.tunnels.model.peers.items()
    limits = limits_seen(engine)
    peers = []
    for known_as, spec in known:
        found = carriers.pop(spec.key.lower(), [])
        peers.append(_known(state, known_as, spec, found, limits))
    peers += (_stranger(names[key], key, found, limits) for key, found in carriers.items())
    handshakes = msgspec.msgpack.decode(engine.snapshot("tunnel_handshakes"), type=HandshakesView)
    return PeersView(name, public, bool(node.secret), listen, tuple(peers), handshakes)


def peer_view(state: State, engine: Engine, name: str) -> PeerView | None:
    """Show one known peer; None if there is none of this name."""
    found = (peer for peer in peers_view(state, engine).peers if peer.known)
    return next((peer for peer in found if peer.name == name), None)


def _known(
    state: State,
    name: str,
    spec: PeerSpec,
    carriers: Sequence[PeerCarrierView],
    limits: LimitsSeen,
) -> PeerView:
    return PeerView(
        name=name,
        key=spec.key.lower(),
        known=True,
        tunnels=spec.tunnels,
        offer=spec.offer,
        consume=spec.consume,
        send_rate=spec.send_rate,
        receive_rate=spec.receive_rate,
        max_streams=spec.max_streams,
        **limits.peer(spec.key.lower()),
        carriers=tuple(carriers),
        dynamic=("peer", name) in state.tunnels.records,
    )


def _stranger(
    name: str, key: str, carriers: Sequence[PeerCarrierView], limits: LimitsSeen
) -> PeerView:
    return PeerView(
        name=name,
        key=key,
        known=False,
        tunnels=(),
        offer=None,
        consume=None,
        send_rate=0,
        receive_rate=0,
        max_streams=0,
        **limits.peer(key),
        carriers=tuple(carriers),
        dynamic=False,
    )
