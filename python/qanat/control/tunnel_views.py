"""What the gateway shows of its tunnels, as typed records; the keys of services are masked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from qanat.compiler.tunnels import Bound, Kind, Transport, WhenDown
from qanat.control.limit_views import limits_seen
from qanat.control.tally_views import ServiceTally, TunnelTally, service_tallies

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qanat.compiler.tunnels import LocalService, RemoteService, TunnelSpec
    from qanat.control.engine import Engine
    from qanat.control.state import State
    from qanat.control.tunnel_state import TunnelKey

TunnelStatus = Literal["up", "idle", "connecting", "reconnecting", "auth_failed", "removed"]

MASKED = "********"


class CarrierView(msgspec.Struct, frozen=True, kw_only=True):
    """A connection of a tunnel. `role` is what this gateway is; `node` and `key` are the other end.

    `streams` are those of both sides that are open; the round trip is in microseconds.
    Datagrams are dropped, oldest first, when too many wait. `window_stalls` counts how often a
    stream had bytes and no credit of the other end, `throttled` how often one was held back by a
    limit, `throttled_now` those that are; `queued` bytes wait for the connection.
    """

    index: int
    role: Literal["dialler", "acceptor"]
    node: str
    key: str
    address: str
    streams: int
    bytes_received: int
    bytes_sent: int
    rtt_us: int
    up_ms: int
    datagrams_dropped: int = 0
    frames_received: int = 0
    frames_sent: int = 0
    window_stalls: int = 0
    throttled: int = 0
    throttled_now: int = 0
    queued: int = 0


class Seen(TunnelTally, frozen=True, kw_only=True):
    """A tunnel as the data plane tells of it."""

    name: str
    state: TunnelStatus
    error: str | None
    carriers: tuple[CarrierView, ...]
    serving: int
    opened: int
    served: int
    refused: int
    connected: int


class TunnelView(TunnelTally, frozen=True, kw_only=True):
    """A tunnel; one that the other end dials has no `dest`.

    `error` is why it is not up. `serving` counts the streams that the other end has open here;
    `opened`, `served` and `refused` all streams since the start, `connected` all carriers, and
    `reconnects` how often it came up again. `refused_by` counts streams that were refused here,
    `rejected_by` those that the other end refused, and `reset_by` those that broke, by reason.
    `opening` is the time from asking for a stream to its answer, `handshakes` that to a carrier.
    """

    name: str
    dest: str | None
    peer: str | None
    send_rate: int
    receive_rate: int
    state: TunnelStatus
    error: str | None
    carriers: tuple[CarrierView, ...]
    serving: int
    opened: int
    served: int
    refused: int
    connected: int
    dynamic: bool


class SkippedTunnelView(msgspec.Struct, frozen=True):
    """A stored tunnel, service or binding (`KIND:TUNNEL/SERVICE`) that cannot be used, and why."""

    kind: str
    name: str
    message: str


class TunnelsView(msgspec.Struct, frozen=True):
    """All tunnels at one revision, and what of the store cannot be used.

    `windows` are the bytes that the windows of all streams come to, up to `buffer_limit`.
    """

    revision: int
    windows: int
    buffer_limit: int
    tunnels: tuple[TunnelView, ...]
    skipped: tuple[SkippedTunnelView, ...]


class _ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """What both kinds of services show; `refused_by` counts refused streams by reason."""

    name: str
    addr: str
    key: str | None
    protocol: Transport
    tunnels: tuple[str, ...]
    sessions: int
    dynamic: bool
    upload_rate: int
    download_rate: int
    stream_upload_rate: int
    stream_download_rate: int
    streams: int = 0
    refused_by: dict[str, int] = {}


Service = TypeVar("Service", bound=_ServiceView)


class LocalServiceView(_ServiceView, frozen=True, kw_only=True):
    """Where clients of a service connect, and the tunnels that it is bound to."""

    pending_timeout_ms: int
    when_down: WhenDown


class RemoteServiceView(_ServiceView, frozen=True, kw_only=True):
    """Where a service leads to, and the tunnels that may ask for it.

    `limited` counts the streams that were refused because `max_streams` were open.
    """

    addresses: tuple[str, ...]
    connect_timeout_ms: int
    proxy_protocol: Literal["off", "v1", "v2"]
    max_streams: int
    limited: int


class ServicesView(msgspec.Struct, frozen=True):
    """All services at one revision."""

    revision: int
    local: tuple[LocalServiceView, ...]
    remote: tuple[RemoteServiceView, ...]


class BindingView(msgspec.Struct, frozen=True):
    """A service bound to a tunnel. `state` is that of the tunnel, `no_tunnel` for one that nobody
    has brought up yet, or `no_service` if the service is not there.

    `offered` tells whether the end that has the target offers the service through this tunnel: it
    is there, bound, allowed to the other end, and healthy. Null while that is not known.
    """

    tunnel: str
    service: str
    state: str
    offered: bool | None
    dynamic: bool


class BindingsView(msgspec.Struct, frozen=True):
    """All bindings at one revision."""

    revision: int
    local: tuple[BindingView, ...]
    remote: tuple[BindingView, ...]


def tunnels_view(state: State, engine: Engine) -> TunnelsView:
    """Show all tunnels, those that others dial last."""
    skipped = (SkippedTunnelView(*key, item.message) for key, item in state.tunnels.skipped.items())
    node = state.compiled.settings.tunnels
    return TunnelsView(
        state.revision,
        limits_seen(engine).windows,
        0 if node is None else node.limits.buffer_limit,
        tuple(_tunnels(state, engine)),
        tuple(skipped),
    )


def tunnel_view(state: State, engine: Engine, name: str) -> TunnelView | None:
    """Show one tunnel; None if there is none of this name."""
    return next((view for view in _tunnels(state, engine) if view.name == name), None)


def services_view(state: State, engine: Engine) -> ServicesView:
    """Show all services."""
    model, sessions = state.tunnels.model, _sessions(engine)
    limited, tallies = limits_seen(engine).limited(), service_tallies(engine)
    local = (_local(state, name, model.local[name], sessions) for name in model.local)
    remote = (_remote(state, name, model.remote[name], sessions, limited) for name in model.remote)
    return ServicesView(
        state.revision,
        tuple(_counted(view, "local", tallies) for view in local),
        tuple(_counted(view, "remote", tallies) for view in remote),
    )


def service_view(
    state: State, engine: Engine, kind: Kind, name: str
) -> LocalServiceView | RemoteServiceView | None:
    """Show one service; None if there is none of this name and kind."""
    model, tallies = state.tunnels.model, service_tallies(engine)
    if kind == "local":
        local = model.local.get(name)
        if local is None:
            return None
        return _counted(_local(state, name, local, _sessions(engine)), kind, tallies)
    remote = model.remote.get(name)
    if remote is None:
        return None
    view = _remote(state, name, remote, _sessions(engine), limits_seen(engine).limited())
    return _counted(view, kind, tallies)


def bindings_view(state: State, engine: Engine) -> BindingsView:
    """Show all bindings."""
    local, remote = (tuple(_bindings(state, engine, kind)) for kind in ("local", "remote"))
    return BindingsView(state.revision, local, remote)


def binding_view(
    state: State, engine: Engine, kind: Kind, tunnel: str, service: str
) -> BindingView | None:
    """Show one binding; None if there is none."""
    found = _bindings(state, engine, kind)
    return next((one for one in found if (one.tunnel, one.service) == (tunnel, service)), None)


def _tunnels(state: State, engine: Engine) -> Iterable[TunnelView]:
    seen = {item.name: item for item in seen_tunnels(engine)}
    for name, spec in state.tunnels.model.tunnels.items():
        yield _tunnel(state, name, spec, seen.pop(name, None))
    for name, item in seen.items():
        if item.carriers:
            yield _tunnel(state, name, None, item)


def _tunnel(state: State, name: str, spec: TunnelSpec | None, seen: Seen | None) -> TunnelView:
    facts = {} if seen is None else msgspec.structs.asdict(seen)
    return TunnelView(
        name=name,
        dest=spec.dial if spec is not None else None,
        peer=spec.peer if spec is not None else None,
        send_rate=spec.send_rate if spec is not None else 0,
        receive_rate=spec.receive_rate if spec is not None else 0,
        state=facts.get("state", "connecting"),
        error=facts.get("error"),
        carriers=facts.get("carriers", ()),
        serving=facts.get("serving", 0),
        opened=facts.get("opened", 0),
        served=facts.get("served", 0),
        refused=facts.get("refused", 0),
        connected=facts.get("connected", 0),
        **{name: facts[name] for name in TunnelTally.__struct_fields__ if name in facts},
        dynamic=_is_dynamic(state, ("tunnel", name)),
    )


def _local(
    state: State, name: str, service: LocalService, sessions: Mapping[str, int]
) -> LocalServiceView:
    return LocalServiceView(
        **_shared(state, "local", name, service),
        addr=service.address,
        sessions=sessions.get(f"service:{name}", 0),
        pending_timeout_ms=service.pending_timeout_ms,
        when_down=service.when_down,
    )


def _remote(
    state: State,
    name: str,
    service: RemoteService,
    sessions: Mapping[str, int],
    limited: Mapping[str, int],
) -> RemoteServiceView:
    return RemoteServiceView(
        **_shared(state, "remote", name, service),
        addr=service.target,
        sessions=sessions.get(f"tunnel:{name}", 0),
        addresses=service.addresses,
        connect_timeout_ms=service.connect_timeout_ms,
        proxy_protocol=service.proxy_protocol,
        max_streams=service.max_streams,
        limited=limited.get(f"remote:{name}", 0),
    )


def _shared(
    state: State, kind: Kind, name: str, service: LocalService | RemoteService
) -> dict[str, Any]:
    bindings = state.tunnels.model.bindings(kind)
    return {
        "name": name,
        "key": _masked(service.key),
        "protocol": service.protocol,
        "tunnels": bindings.get(name, Bound()).tunnels,
        "dynamic": _is_dynamic(state, (kind, name)),
        **msgspec.structs.asdict(service.rates),
    }


def _counted(view: Service, kind: Kind, tallies: Mapping[str, ServiceTally]) -> Service:
    tally = tallies.get(f"{kind}:{view.name}")
    if tally is None:
        return view
    return msgspec.structs.replace(view, streams=tally.streams, refused_by=tally.refused_by)


def _bindings(state: State, engine: Engine, kind: Kind) -> Iterable[BindingView]:
    model = state.tunnels.model
    services = model.local if kind == "local" else model.remote
    states = {view.name: view.state for view in _tunnels(state, engine)}
    offers = _Offers(engine)
    for service, bound in model.bindings(kind).items():
        for tunnel in bound.tunnels:
            found: str = states.get(tunnel, "no_tunnel")
            status = found if service in services else "no_service"
            dynamic = _is_dynamic(state, ("bind", f"{kind}:{tunnel}/{service}"))
            yield BindingView(
                tunnel, service, status, offers.offered(kind, tunnel, service), dynamic
            )


class _Offer(msgspec.Struct, frozen=True):
    """What both ends of a tunnel offer, as the data plane tells of it."""

    tunnel: str
    ours: frozenset[str]
    theirs: frozenset[str] | None


class _Offers:
    """What is offered through all tunnels that are up."""

    def __init__(self, engine: Engine) -> None:
        found = msgspec.msgpack.decode(engine.snapshot("offers"), type=list[_Offer])
        self._known = {offer.tunnel: offer for offer in found}

    def offered(self, kind: Kind, tunnel: str, service: str) -> bool | None:
        """Tell whether the end with the target offers a service; None if that is not known."""
        offer = self._known.get(tunnel)
        names = None if offer is None else offer.theirs if kind == "local" else offer.ours
        return None if names is None else service in names


def _is_dynamic(state: State, key: TunnelKey) -> bool:
    return key in state.tunnels.records


def _masked(key: str) -> str | None:
    return MASKED if key else None


def seen_tunnels(engine: Engine) -> list[Seen]:
    """Ask the data plane for the tunnels that it knows."""
    return msgspec.msgpack.decode(engine.snapshot("tunnels"), type=list[Seen])


def _sessions(engine: Engine) -> dict[str, int]:
    return msgspec.msgpack.decode(engine.snapshot("servers"), type=dict[str, int])
