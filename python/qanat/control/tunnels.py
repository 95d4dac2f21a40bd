"""Adding and removing tunnels, services and bindings, as steps computed from the state.

What stands in the configuration file is changed there; the API adds beside it. Nothing needs
anything else to be there first: what is still missing is waited for where it is used.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

import msgspec

from qanat.compiler.address import AddressError, parse_address, with_port
from qanat.compiler.compilation import Compilation, Refused, Resolve, World
from qanat.compiler.listen import listen_addresses
from qanat.compiler.tunnel_block import split_host, target_addresses
from qanat.compiler.tunnel_peers import PeerSpec
from qanat.compiler.tunnels import (
    Bound,
    Kind,
    LocalService,
    RemoteService,
    Transport,
    TunnelSpec,
    name_fault,
    service_fault,
)
from qanat.control.errors import AddressTaken, InvalidRequest, NoTunnels, TunnelIsStatic
from qanat.control.state import State, Step
from qanat.control.tunnel_peers import putting_peer
from qanat.control.tunnel_records import record_step
from qanat.control.tunnel_state import TunnelChange, bound_to, copy_of
from qanat.store.base import StoreError

if TYPE_CHECKING:
    from collections.abc import Container

    from qanat.compiler.tunnel_plan import TunnelNode
    from qanat.store.base import StoredTunnel

_PORT_ATTEMPTS = 100
_SOME_PORT = 1  # in place of 0 while a host is looked up


def putting_tunnel(state: State, name: str, spec: TunnelSpec, resolve: Resolve) -> Step:
    """Compute the step that adds or changes a tunnel. Raise a `ChangeRefused`."""
    _check_name("tunnel", name, "name")
    node = _node_of(state)
    known = state.compiled.tunnels.model.tunnels.get(name)
    if known is not None and known != spec:
        raise TunnelIsStatic(f'tunnel "{name}"')
    try:
        split_host(spec.dial)
    except Refused as refused:
        raise InvalidRequest("dest", refused.message) from None
    if spec.peer is None and not node.secret:
        message = 'there is no "secret" in "tunnels": name the peer that must answer'
        raise InvalidRequest("peer", message)
    if spec.peer is not None and spec.peer not in state.tunnels.model.peers:
        raise InvalidRequest("peer", f'there is no peer "{spec.peer}" in "tunnels"')
    model = copy_of(state.tunnels.model)
    model.tunnels[name] = spec
    document = msgspec.json.encode(spec)
    return record_step(state, model, ("tunnel", name), document, f'tunnel "{name}" put')


def removing_tunnel(state: State, name: str, resolve: Resolve) -> Step:
    """Compute the step that removes a tunnel. Raise a `ChangeRefused`."""
    if name in state.compiled.tunnels.model.tunnels:
        raise TunnelIsStatic(f'tunnel "{name}"')
    model = copy_of(state.tunnels.model)
    model.tunnels.pop(name, None)
    return record_step(state, model, ("tunnel", name), None, f'tunnel "{name}" removed')


def putting_service(
    state: State, kind: Kind, name: str, spec: LocalService | RemoteService, resolve: Resolve
) -> Step:
    """Compute the step that adds or changes a service. Raise a `ChangeRefused`."""
    _check_name("service", name, "name")
    _node_of(state)
    model = copy_of(state.tunnels.model)
    static = state.compiled.tunnels.model
    if isinstance(spec, LocalService):
        spec = msgspec.structs.replace(spec, address=_listen_address(state, name, spec, resolve))
        fault = service_fault(spec)
        if fault is not None:
            raise InvalidRequest("when_down", fault)
        _check_static(static.local.get(name), spec, f'local service "{name}"')
        model.local[name] = spec
    else:
        spec = msgspec.structs.replace(spec, addresses=_targets(spec.target, resolve))
        _check_static(static.remote.get(name), spec, f'remote service "{name}"')
        model.remote[name] = spec
    summary = f'{kind} service "{name}" put'
    step = record_step(state, model, (kind, name), msgspec.json.encode(spec), summary)
    _check_address(state, step)
    return step


def removing_service(state: State, kind: Kind, name: str, resolve: Resolve) -> Step:
    """Compute the step that removes a service; its bindings stay. Raise a `ChangeRefused`."""
    static = state.compiled.tunnels.model
    if name in (static.local if kind == "local" else static.remote):
        raise TunnelIsStatic(f'{kind} service "{name}"')
    model = copy_of(state.tunnels.model)
    services: dict[str, LocalService] | dict[str, RemoteService] = (
        model.local if kind == "local" else model.remote
    )
    services.pop(name, None)
    return record_step(state, model, (kind, name), None, f'{kind} service "{name}" removed')


def binding(state: State, kind: Kind, tunnel: str, service: str, resolve: Resolve) -> Step:
    """Compute the step that binds a service to a tunnel. Raise a `ChangeRefused`."""
    _check_name("tunnel", tunnel, "tunnel")
    _check_name("service", service, "service")
    _node_of(state)
    model = copy_of(state.tunnels.model)
    bindings = model.bindings(kind)
    if not bound_to(bindings, service, tunnel):
        bindings[service] = Bound((*bindings.get(service, Bound()).tunnels, tunnel))
    key = ("bind", f"{kind}:{tunnel}/{service}")
    return record_step(state, model, key, b"{}", f'service "{service}" bound to "{tunnel}", {kind}')


def unbinding(state: State, kind: Kind, tunnel: str, service: str, resolve: Resolve) -> Step:
    """Compute the step that ends a binding. Raise a `ChangeRefused`."""
    if bound_to(state.compiled.tunnels.model.bindings(kind), service, tunnel):
        raise TunnelIsStatic(f'the binding of "{service}" to "{tunnel}"')
    model = copy_of(state.tunnels.model)
    bindings = model.bindings(kind)
    left = tuple(name for name in bindings.get(service, Bound()).tunnels if name != tunnel)
    if left:
        bindings[service] = Bound(left)
    else:
        bindings.pop(service, None)
    key = ("bind", f"{kind}:{tunnel}/{service}")
    return record_step(
        state, model, key, None, f'service "{service}" unbound from "{tunnel}", {kind}'
    )


def bringing_back_tunnel(state: State, record: StoredTunnel, resolve: Resolve) -> Step:
    """Compute the step that adds a stored record again. Raise a `ChangeRefused` or `StoreError`."""
    try:
        step = _bring_back(state, record, resolve)
    except msgspec.DecodeError as error:
        raise StoreError(f'the stored {record.kind} "{record.name}" is damaged: {error}') from error
    changes = tuple(
        TunnelChange(change.key, None, record if change.after is not None else None)
        for change in step.tunnels
    )
    return Step(put=step.put, remove=step.remove, tunnels=changes, model=step.model)


def _bring_back(state: State, record: StoredTunnel, resolve: Resolve) -> Step:
    if record.kind == "peer":
        peer = msgspec.json.decode(record.document, type=PeerSpec)
        return putting_peer(state, record.name, peer, resolve)
    if record.kind == "tunnel":
        spec = msgspec.json.decode(record.document, type=TunnelSpec)
        return putting_tunnel(state, record.name, spec, resolve)
    if record.kind == "local":
        local = msgspec.json.decode(record.document, type=LocalService)
        return putting_service(state, "local", record.name, local, resolve)
    if record.kind == "remote":
        remote = msgspec.json.decode(record.document, type=RemoteService)
        return putting_service(state, "remote", record.name, remote, resolve)
    text, _, names = record.name.partition(":")
    tunnel, _, service = names.partition("/")
    kind: Kind = "local" if text == "local" else "remote"
    return binding(state, kind, tunnel, service, resolve)


def _node_of(state: State) -> TunnelNode:
    node = state.compiled.settings.tunnels
    if node is None:
        raise NoTunnels
    return node


def _check_name(what: str, name: str, field: str) -> None:
    fault = name_fault(what, name)
    if fault is not None:
        raise InvalidRequest(field, fault)


def _check_static(known: object, spec: object, what: str) -> None:
    if known is not None and known != spec:
        raise TunnelIsStatic(what)


def _targets(target: str, resolve: Resolve) -> tuple[str, ...]:
    def look_up(host: str) -> tuple[str, ...]:
        try:
            return (str(ipaddress.ip_address(host)),)
        except ValueError:
            pass
        try:
            return tuple(resolve(host))
        except OSError:
            return ()

    try:
        return target_addresses(look_up, target)
    except Refused as refused:
        raise InvalidRequest("addr", refused.message) from None


def _listen_address(state: State, name: str, spec: LocalService, resolve: Resolve) -> str:
    """Make the address of a local service literal; port 0 becomes one that is free."""
    text = spec.address
    host, _, port = text.rpartition(":")
    is_any_port = port == "0" and bool(host) and not text.startswith("unix:")
    wanted = f"{host}:{_SOME_PORT}" if is_any_port else text
    try:
        parse_address(wanted, listen=True)
        compilation = Compilation(World(state.files.paths, resolve=resolve))
        addresses = listen_addresses(compilation, wanted)
    except AddressError as error:
        raise InvalidRequest("addr", f'{error} in "{text}"') from None
    except Refused:
        lack = "host not found" if ":" in text else "no port"
        raise InvalidRequest("addr", f'{lack} in "{text}"') from None
    if len(addresses) != 1:
        raise InvalidRequest("addr", f'"{text}" is {len(addresses)} addresses, one is needed')
    if not is_any_port:
        return addresses[0]
    literal = addresses[0].rpartition(":")[0]
    known = state.tunnels.model.local.get(name)
    if known is not None and known.address.rpartition(":")[0] == literal:
        return known.address
    taken = {service.address for service in state.tunnels.model.local.values()}
    return _free_address(literal, spec.protocol, taken)


def _free_address(host: str, protocol: Transport, taken: Container[str]) -> str:
    """Find a port that is free now, and that no service of the same change was given before."""
    literal = host.strip("[]")
    family = socket.AF_INET6 if ":" in literal else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    try:
        for _ in range(_PORT_ATTEMPTS):
            with socket.socket(family, kind) as probe:
                probe.bind((literal, 0))
                address = with_port(literal, int(probe.getsockname()[1]))
            if address not in taken:
                return address
    except OSError as error:
        raise InvalidRequest("addr", f'cannot listen at "{host}": {error}') from None
    raise InvalidRequest("addr", f'no port is free at "{host}"')


def _check_address(state: State, step: Step) -> None:
    """Refuse an address that another object of this gateway has."""
    for listener in step.put.listeners:
        holder = state.index.listeners.get(listener.id)
        if holder is not None and holder.default_server != listener.default_server:
            raise AddressTaken(listener.address, holder.default_server)
        for endpoint in state.compiled.process.control:
            if listener.protocol == "tcp" and _overlap(endpoint.address, listener.address):
                raise AddressTaken(listener.address, f"control address {endpoint.address}")


def _overlap(one: str, other: str) -> bool:
    """Tell whether two addresses cannot both be listened at."""
    if one == other:
        return True
    (host, _, port), (other_host, _, other_port) = one.rpartition(":"), other.rpartition(":")
    wildcards = {"0.0.0.0", "[::]"}  # noqa: S104 - compared, not bound
    return port == other_port and (host in wildcards or other_host in wildcards)
