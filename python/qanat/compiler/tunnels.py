"""Tunnels, services and bindings: what they are, and the plan objects that they come to.

A local service is a listener whose server passes its clients to the upstream of the tunnels that it
is bound to. A remote service is a listener without a socket, at which the streams of tunnels
arrive, whose server passes them to the target. So everything that serves sessions serves these.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import msgspec

from qanat.compiler import plan
from qanat.compiler.tunnel_peers import PeerSpec, peer_object
from qanat.compiler.tunnel_plan import Binding, Service, Tunnel

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["local", "remote"]
WhenDown = Literal["hold", "refuse", "close"]
Transport = Literal["tcp", "udp"]

UNBOUND = "*"
"""The tunnel of a service that is bound to none: it is never up."""

_LARGEST_DATAGRAM = 65_536
_FLOW_TIMEOUT_MS = 60_000  # of silence, then a client's next datagram begins another flow
_SERVER = plan.Server(id="", listeners=(), origin="")
_PROXY = plan.Proxy(target=plan.ProxyToUpstream(name=""))
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


class TunnelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tunnel that this node dials: `HOST:PORT` of the other end, and who must answer there.

    Rates are bytes a second, 0 for no limit.
    """

    dial: str
    peer: str | None = None
    send_rate: int = 0
    receive_rate: int = 0

    def leads_as(self, other: TunnelSpec | None) -> bool:
        """Tell whether the other one is a link between the same two gateways."""
        return other is not None and (self.dial, self.peer) == (other.dial, other.peer)


class ServiceRates(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True
):
    """Limits of a service on this node: bytes a second, 0 for no limit.

    Upload is what clients send to the target, of all streams together, or of each.
    """

    upload_rate: int = 0
    download_rate: int = 0
    stream_upload_rate: int = 0
    stream_download_rate: int = 0


class LocalService(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where clients of a service connect: a literal address."""

    address: str
    key: str = ""
    pending_timeout_ms: int = 5000
    when_down: WhenDown = "hold"
    protocol: Transport = "tcp"
    rates: ServiceRates = ServiceRates()


class RemoteService(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a service leads to: literal addresses, or `unix:PATH`."""

    target: str
    addresses: tuple[str, ...]
    key: str = ""
    connect_timeout_ms: int = 3000
    proxy_protocol: Literal["off", "v1", "v2"] = "off"
    protocol: Transport = "tcp"
    rates: ServiceRates = ServiceRates()
    max_streams: int = 0


@dataclass(frozen=True, slots=True)
class Bound:
    """The tunnels that a service is bound to, in order."""

    tunnels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """A server and its proxy as the file has them for all services, with both ends still open."""

    server: plan.Server = _SERVER
    proxy: plan.Proxy = _PROXY
    timeout_ms: int | None = None
    """`proxy_timeout`, if it was given."""


@dataclass(slots=True)
class Tunnels:
    """All peers, tunnels, services and bindings by name."""

    peers: dict[str, PeerSpec] = field(default_factory=dict)
    tunnels: dict[str, TunnelSpec] = field(default_factory=dict)
    local: dict[str, LocalService] = field(default_factory=dict)
    remote: dict[str, RemoteService] = field(default_factory=dict)
    local_bindings: dict[str, Bound] = field(default_factory=dict)
    remote_bindings: dict[str, Bound] = field(default_factory=dict)
    level: ServiceLevel = field(default_factory=ServiceLevel)
    """What their servers take over from the file."""

    def bindings(self, kind: Kind) -> dict[str, Bound]:
        """Give the bindings of one kind."""
        return self.local_bindings if kind == "local" else self.remote_bindings

    def names(self) -> Iterable[str]:
        """List the names of all services, bound ones that do not exist included."""
        known = (self.local, self.remote, self.local_bindings, self.remote_bindings)
        return dict.fromkeys(name for names in known for name in names)

    def objects(self) -> plan.Objects:
        """Make all plan objects."""
        return join([link_objects(self), *(service_objects(self, name) for name in self.names())])


def name_fault(what: str, name: str) -> str | None:
    """Say what is wrong with a name, if anything is."""
    if name in {".", ".."}:
        return f'"{name}" is no {what} name: in an address it would lead elsewhere'
    if _NAME.fullmatch(name):
        return None
    return f'{what} name "{name}" has to be 1 to 128 letters, digits, ".", "_" or "-"'


def link_objects(model: Tunnels) -> plan.Objects:
    """Make the plan objects of the peers and the tunnels alone."""
    return plan.Objects(
        peers=tuple(peer_object(name, spec) for name, spec in model.peers.items()),
        tunnels=tuple(
            Tunnel(
                name=name,
                dial=spec.dial,
                peer=spec.peer,
                send_rate=spec.send_rate,
                receive_rate=spec.receive_rate,
                origin=f"tunnel {name}",
            )
            for name, spec in model.tunnels.items()
        ),
    )


def service_fault(service: LocalService) -> str | None:
    """Say what is wrong with the options of a local service, taken together, if anything is."""
    if service.when_down != "refuse":
        return None
    remedy = 'use "when_down=hold" or "close"'
    if service.protocol == "udp":
        return f'"when_down=refuse" is for TCP, datagrams are not refused: {remedy}'
    if service.address.startswith("unix:"):
        return f'"when_down=refuse" is not for unix sockets, which cannot do it: {remedy}'
    return None


def service_objects(model: Tunnels, name: str) -> plan.Objects:
    """Make the plan objects of one service, of both kinds, and of its bindings."""
    local, remote = model.local.get(name), model.remote.get(name)
    objects = []
    if local is not None:
        bound = model.local_bindings.get(name, Bound())
        objects.append(_local_objects(name, local, bound, model.level))
    if remote is not None:
        objects.append(_remote_objects(name, remote, model.level))
    bindings = tuple(
        Binding(id=f"{tunnel}/{name}", listener=f"tunnel:{name}")
        for tunnel in model.remote_bindings.get(name, Bound()).tunnels
    )
    return join([*objects, plan.Objects(bindings=bindings)])


def join(parts: list[plan.Objects]) -> plan.Objects:
    """Put objects together."""
    return plan.Objects(
        **{
            kind: tuple(item for part in parts for item in getattr(part, kind))
            for kind in plan.Objects.__struct_fields__
        }
    )


@lru_cache(maxsize=4096)
def derived_key(key: str) -> bytes:
    """Derive what the data plane proves and checks of a service's key.

    HKDF with SHA-256, without salt, of one block (RFC 5869, section 2).
    """
    if not key:
        return b""
    extracted = hmac.digest(bytes(32), key.encode(), "sha256")
    return hmac.digest(extracted, b"qanat service key\x01", "sha256")


def listener_objects(address: str, origin: str) -> plan.Objects:
    """Make the plan objects of an address at which carriers of tunnels arrive."""
    ident = f"tcp:{address}"
    server = plan.Server(id=f"{ident}/tunnels", listeners=(ident,), origin=origin)
    listener = plan.Listener(
        id=ident,
        protocol="tcp",
        address=address,
        default_server=server.id,
        role="tunnels",
        origin=origin,
    )
    return plan.Objects(listeners=(listener,), servers=(server,))


def _local_objects(
    name: str, service: LocalService, bound: Bound, level: ServiceLevel
) -> plan.Objects:
    group = f"service:{name}"
    peers = tuple(_peer(f"tunnel:{tunnel}/{name}") for tunnel in bound.tunnels or (UNBOUND,))
    pending = service.pending_timeout_ms if service.when_down == "hold" else 0
    origin = f"service {name}"
    ident, protocol = f"{service.protocol}:{service.address}", service.protocol
    proxy = _proxy(level, group, protocol)
    listener = _listener(ident, protocol, service.address, (group, origin))
    if service.when_down == "refuse":
        listener = msgspec.structs.replace(listener, refuses_without=bound.tunnels)
    return plan.Objects(
        listeners=(listener,),
        servers=(_server(level, (group, ident), proxy, origin),),
        upstreams=(plan.Upstream(name=group, peers=peers, origin=origin),),
        services=(
            Service(
                id=f"local:{name}",
                key=derived_key(service.key),
                pending_timeout_ms=pending,
                origin=origin,
                **msgspec.structs.asdict(service.rates),
            ),
        ),
    )


def _remote_objects(name: str, service: RemoteService, level: ServiceLevel) -> plan.Objects:
    ident, group = f"tunnel:{name}", f"target:{name}"
    origin = f"service {name}"
    proxy = msgspec.structs.replace(
        _proxy(level, group, service.protocol),
        connect_timeout_ms=service.connect_timeout_ms,
        protocol=service.proxy_protocol,
    )
    peers = tuple(_peer(address) for address in service.addresses)
    address = f"tunnel:{UNBOUND}/{name}"
    return plan.Objects(
        listeners=(_listener(ident, service.protocol, address, (ident, origin)),),
        servers=(_server(level, (ident, ident), proxy, origin),),
        upstreams=(plan.Upstream(name=group, peers=peers, origin=origin),),
        services=(
            Service(
                id=f"remote:{name}",
                key=derived_key(service.key),
                max_streams=service.max_streams,
                origin=origin,
                **msgspec.structs.asdict(service.rates),
            ),
        ),
    )


def _listener(
    ident: str, protocol: Transport, address: str, server_origin: tuple[str, str]
) -> plan.Listener:
    server, origin = server_origin
    return plan.Listener(
        id=ident, protocol=protocol, address=address, default_server=server, origin=origin
    )


def _server(
    level: ServiceLevel, ids: tuple[str, str], proxy: plan.Proxy, origin: str
) -> plan.Server:
    ident, listener = ids
    content = plan.ProxyContent(proxy=proxy)
    return msgspec.structs.replace(
        level.server, id=ident, listeners=(listener,), content=content, origin=origin
    )


def _proxy(level: ServiceLevel, group: str, protocol: Transport) -> plan.Proxy:
    target = plan.ProxyToUpstream(name=group)
    if protocol == "udp":
        # Datagrams of any size go through whole.
        timeout = _FLOW_TIMEOUT_MS if level.timeout_ms is None else level.timeout_ms
        return msgspec.structs.replace(
            level.proxy, target=target, buffer_size=_LARGEST_DATAGRAM, timeout_ms=timeout
        )
    # Both ends pass a half-close on, so that it goes through from end to end.
    return msgspec.structs.replace(level.proxy, target=target, half_close=True)


def _peer(address: str) -> plan.Peer:
    # A tunnel that comes back is used at once: whether it is up is known without trying.
    max_fails = 0 if address.startswith("tunnel:") else 1
    return plan.Peer(server=address.removeprefix("tunnel:"), address=address, max_fails=max_fails)
