"""The `tunnels` block of the main level."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import structs

from qanat.compiler import plan
from qanat.compiler.address import AddressError, parse_address, with_port
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.inherit import number, time_ms
from qanat.compiler.listen import listen_addresses
from qanat.compiler.service_level import DIRECTIVES, read_service_level
from qanat.compiler.tunnel_addresses import one_listen_address
from qanat.compiler.tunnel_limits import RATES, SERVICE_RATES, max_streams, rate, service_rates
from qanat.compiler.tunnel_peers import holder_of, read_peer
from qanat.compiler.tunnel_plan import TunnelNode
from qanat.compiler.tunnels import (
    Bound,
    Kind,
    LocalService,
    RemoteService,
    Transport,
    Tunnels,
    TunnelSpec,
    WhenDown,
    join,
    listener_objects,
    name_fault,
    service_fault,
)
from qanat.compiler.units import parse_offset, parse_time_ms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Literal

    from qanat.compiler.inherit import Level
    from qanat.config.tree import Directive, Tree

_HEX_SECRET = re.compile(r"[0-9a-fA-F]{64,}")
_LEAST_SECRET = 16  # bytes: 128 bits cannot be guessed
_MOST_SECRETS = 4
_MOST_CARRIERS = 16
_MOST_STREAMS = 1_000_000


@dataclass(slots=True)
class TunnelsBlock:
    """What the block says; without one there are no tunnels. The key of the node is not in it."""

    is_there: bool = False
    node: TunnelNode = field(default_factory=lambda: TunnelNode(key=b"", generation=0))
    model: Tunnels = field(default_factory=Tunnels)
    listeners: plan.Objects = field(default_factory=plan.Objects)
    """Where carriers arrive."""

    def objects(self) -> plan.Objects:
        """Make all plan objects of the block."""
        return join([self.listeners, self.model.objects()])


def read_tunnels(compilation: Compilation, tree: Tree, stream: Level) -> TunnelsBlock:
    """Read the `tunnels` block, if there is one; `stream` is the level around its services."""
    block = TunnelsBlock()
    for directive in tree.find("tunnels"):
        if block.is_there:
            compilation.refuse(directive, '"tunnels" directive is duplicate')
            continue
        block.is_there = True
        entries = directive.block or ()
        settings = [entry for entry in entries if entry.name in DIRECTIVES]
        block.model.level = read_service_level(compilation, settings, stream)
        for entry in entries:
            if entry.name in DIRECTIVES:
                continue
            try:
                _ENTRIES[entry.name](compilation, block, entry)
            except Refused as refused:
                compilation.note(entry, refused)
        _check_names(compilation, block, directive)
    return block


def split_host(text: str) -> tuple[str, int]:
    """Split `HOST:PORT`. Raise `Refused`."""
    try:
        address = parse_address(text)
    except AddressError as error:
        raise Refused(f'{error} in "{text}"') from None
    if address.path or not address.ports:
        raise Refused(f'"{text}" has to be HOST:PORT')
    return address.host, address.ports[0]


def target_addresses(resolve: Callable[[str], tuple[str, ...]], target: str) -> tuple[str, ...]:
    """Turn a target, `HOST:PORT` or `unix:PATH`, into literal addresses. Raise `Refused`."""
    if target.startswith("unix:"):
        try:
            parse_address(target)
        except AddressError as error:
            raise Refused(f'{error} in "{target}"') from None
        return (target,)
    host, port = split_host(target)
    found = resolve(host)
    if not found:
        raise Refused(f'host not found in "{target}"')
    return tuple(with_port(address, port) for address in found)


def _read_listen(compilation: Compilation, block: TunnelsBlock, entry: Directive) -> None:
    for address in listen_addresses(compilation, entry.args[0]):
        if address.startswith("unix:"):
            raise Refused("tunnels are not brought up over unix sockets")
        block.listeners = join([block.listeners, listener_objects(address, entry.origin)])


def _read_secret(compilation: Compilation, block: TunnelsBlock, entry: Directive) -> None:
    text = entry.args[0]
    kind, colon, place = text.partition(":")
    if _HEX_SECRET.fullmatch(text):
        secret = bytes.fromhex(text)
    elif kind == "file" and colon:
        secret = _secret_of_file(compilation.world.paths.conf.parent / place)
    elif kind == "env" and colon:
        secret = _secret_of(os.environ.get(place, ""), f"environment variable {place}")
    else:
        raise Refused('a secret is "file:PATH", "env:NAME" or 64 hexadecimal digits')
    if not block.node.secret:
        block.node = structs.replace(block.node, secret=secret)
        return
    former = (*block.node.former_secrets, secret)
    if len(former) >= _MOST_SECRETS or secret == block.node.secret:
        raise Refused(f'at most {_MOST_SECRETS} different "secret" are believed')
    block.node = structs.replace(block.node, former_secrets=former)


def _secret_of_file(path: Path) -> bytes:
    try:
        return _secret_of(path.read_text(encoding="utf-8"), f'file "{path}"')
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f'cannot read the secret in "{path}": {error}') from None


def _secret_of(text: str, place: str) -> bytes:
    text = text.strip()
    secret = bytes.fromhex(text) if _HEX_SECRET.fullmatch(text) else text.encode()
    if len(secret) < _LEAST_SECRET:
        raise Refused(
            f"the secret in {place} has {len(secret)} bytes, at least {_LEAST_SECRET} are needed: "
            "make one with `qanat tunnel genkey`"
        )
    return secret


def _read_peer(__: Compilation, block: TunnelsBlock, entry: Directive) -> None:
    name, key, *options = entry.args
    _check_name("peer", name)
    peers = block.model.peers
    if name in peers:
        raise Refused(f'duplicate peer "{name}"')
    values = _values(options, {"tunnels", "offer", "consume", "max_streams", *RATES})
    spec = structs.replace(
        read_peer(key, values),
        send_rate=rate(values, "send_rate"),
        receive_rate=rate(values, "receive_rate"),
        max_streams=max_streams(values),
    )
    holder = holder_of(peers, name, spec)
    if holder is not None:
        raise Refused(f'peer "{holder}" has the same key')
    peers[name] = spec


def _read_tunnel(__: Compilation, block: TunnelsBlock, entry: Directive) -> None:
    name, dial, *options = entry.args
    _check_name("tunnel", name)
    split_host(dial)
    values = _values(options, {"peer", *RATES})
    if name in block.model.tunnels:
        raise Refused(f'duplicate tunnel "{name}"')
    send_rate, receive_rate = (rate(values, name) for name in RATES)
    block.model.tunnels[name] = TunnelSpec(dial, values.get("peer"), send_rate, receive_rate)


def _values(options: list[str], known: set[str]) -> dict[str, str]:
    """Read options `NAME=VALUE`. Raise `Refused`."""
    values = {}
    for option in options:
        parameter, _, value = option.partition("=")
        if parameter not in known or not value or parameter in values:
            raise Refused(f'invalid parameter "{option}"')
        values[parameter] = value
    return values


def _read_service(compilation: Compilation, block: TunnelsBlock, entry: Directive) -> None:
    name, kind, address, *options = entry.args
    _check_name("service", name)
    protocol: Transport = "udp" if "udp" in options else "tcp"
    values = _values([o for o in options if o != protocol], _SERVICE_OPTIONS[kind == "local"])
    if kind == "local":
        if name in block.model.local:
            raise Refused(f'duplicate local service "{name}"')
        local = LocalService(
            one_listen_address(compilation, address),
            values.get("key", ""),
            _time(values, "pending_timeout", 5000),
            _when_down(values.get("when_down", "hold")),
            protocol,
            service_rates(values),
        )
        fault = service_fault(local)
        if fault is not None:
            raise Refused(fault)
        block.model.local[name] = local
    elif kind == "remote":
        if name in block.model.remote:
            raise Refused(f'duplicate remote service "{name}"')
        block.model.remote[name] = RemoteService(
            address,
            target_addresses(compilation.resolve, address),
            values.get("key", ""),
            _time(values, "connect_timeout", 3000),
            _proxy_protocol(values.get("proxy_protocol", "off")),
            protocol,
            service_rates(values),
            max_streams(values),
        )
    else:
        raise Refused(f'a service is "local" or "remote", not "{kind}"')


_SERVICE_OPTIONS = {
    True: {"key", "pending_timeout", "when_down", *SERVICE_RATES},
    False: {"key", "connect_timeout", "proxy_protocol", "max_streams", *SERVICE_RATES},
}


def _time(values: dict[str, str], name: str, default: int) -> int:
    if name not in values:
        return default
    time = parse_time_ms(values[name])
    if time is None:
        raise Refused(f'invalid value in "{name}={values[name]}"')
    return time


def _when_down(text: str) -> WhenDown:
    values: dict[str, WhenDown] = {"hold": "hold", "refuse": "refuse", "close": "close"}
    if text not in values:
        raise Refused(f'"when_down" is "hold", "refuse" or "close", not "{text}"')
    return values[text]


def _proxy_protocol(text: str) -> Literal["off", "v1", "v2"]:
    values: dict[str, Literal["off", "v1", "v2"]] = {"off": "off", "v1": "v1", "v2": "v2"}
    if text not in values:
        raise Refused(f'"proxy_protocol" is "off", "v1" or "v2", not "{text}"')
    return values[text]


def _read_bind(_: Compilation, block: TunnelsBlock, entry: Directive) -> None:
    tunnel, service, text = entry.args
    _check_name("tunnel", tunnel)
    _check_name("service", service)
    kinds: dict[str, Kind] = {"local": "local", "remote": "remote"}
    if text not in kinds:
        raise Refused(f'a binding is "local" or "remote", not "{text}"')
    bindings = block.model.bindings(kinds[text])
    bound = bindings.get(service, Bound()).tunnels
    if tunnel in bound:
        raise Refused(f'duplicate binding of "{service}" to "{tunnel}"')
    bindings[service] = Bound((*bound, tunnel))


def _read_carriers(compilation: Compilation, block: TunnelsBlock, entry: Directive) -> None:
    carriers = _bounded(entry, number(compilation, entry), _MOST_CARRIERS)
    block.node = structs.replace(block.node, carriers=carriers)


def _read_max_streams(compilation: Compilation, block: TunnelsBlock, entry: Directive) -> None:
    streams = _bounded(entry, number(compilation, entry), _MOST_STREAMS)
    block.node = structs.replace(block.node, max_streams=streams)


def _read_buffer_limit(__: Compilation, block: TunnelsBlock, entry: Directive) -> None:
    size = parse_offset(entry.args[0])
    if not size:
        raise Refused(f'invalid value "{entry.args[0]}" in "buffer_limit": a size such as 256m')
    limits = structs.replace(block.node.limits, buffer_limit=size)
    block.node = structs.replace(block.node, limits=limits)


def _bounded(entry: Directive, value: int, most: int) -> int:
    if not 1 <= value <= most:
        raise Refused(f'"{entry.name}" has to be from 1 to {most}')
    return value


def _read_heartbeat(compilation: Compilation, block: TunnelsBlock, entry: Directive) -> None:
    seconds = time_ms(compilation, entry) // 1000
    if not 1 <= seconds <= 3600:
        raise Refused('"heartbeat" has to be from 1s to 1h')
    block.node = structs.replace(block.node, heartbeat_s=seconds)


def _read_handshake(compilation: Compilation, block: TunnelsBlock, entry: Directive) -> None:
    time = time_ms(compilation, entry)
    block.node = structs.replace(block.node, handshake_timeout_ms=max(time, 1))


_ENTRIES: dict[str, Callable[[Compilation, TunnelsBlock, Directive], None]] = {
    "listen": _read_listen,
    "secret": _read_secret,
    "peer": _read_peer,
    "tunnel": _read_tunnel,
    "service": _read_service,
    "bind": _read_bind,
    "heartbeat": _read_heartbeat,
    "carriers": _read_carriers,
    "handshake_timeout": _read_handshake,
    "max_streams": _read_max_streams,
    "buffer_limit": _read_buffer_limit,
}


def _check_name(what: str, name: str) -> None:
    fault = name_fault(what, name)
    if fault is not None:
        raise Refused(fault)


def _check_names(compilation: Compilation, block: TunnelsBlock, directive: Directive) -> None:
    """Check that tunnels name peers that there are, or that there is a secret."""
    known = block.model.peers
    entries = [entry for entry in directive.block or () if entry.name == "tunnel"]
    for entry in entries:
        spec = block.model.tunnels.get(entry.args[0])
        if spec is None:
            continue
        if spec.peer is not None and spec.peer not in known:
            compilation.refuse(entry, f'no peer "{spec.peer}" in "tunnels"')
        elif spec.peer is None and not block.node.secret:
            message = f'tunnel "{entry.args[0]}" needs a "secret", or "peer=NAME"'
            compilation.refuse(entry, message)
