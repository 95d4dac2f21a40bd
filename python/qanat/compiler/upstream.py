"""`upstream NAME { … }`: peers, balancing, and the nameless upstreams of literal `proxy_pass`
addresses."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qanat.compiler import plan
from qanat.compiler.address import AddressError, parse_address, with_port
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.handlers import read_handler
from qanat.compiler.tunnels import name_fault
from qanat.compiler.units import LARGEST_U32, parse_number, parse_size, parse_time_ms
from qanat.compiler.variables import template

if TYPE_CHECKING:
    from collections.abc import Callable

    from qanat.config.tree import Directive

_HANDLER = frozenset({"balance_by_python", "balance_by_python_block"})
_SMALLEST_ZONE = 8 * mmap.PAGESIZE
_TUNNEL = "tunnel:"


@dataclass(slots=True)
class _Group:
    """An upstream under construction."""

    peers: list[tuple[plan.Peer, Directive]] = field(default_factory=list)
    balance: plan.Balance = field(default_factory=plan.RoundRobin)
    method: Directive | None = None
    handler: str | None = None


def read_upstream(compilation: Compilation, directive: Directive) -> None:
    """Read an upstream and add it to those known."""
    name = directive.args[0]
    if name.lower() in compilation.upstreams:
        raise Refused(f'duplicate upstream "{name}"')
    group = _Group()
    before = len(compilation.problems)
    for entry in directive.block or ():
        try:
            _read_entry(compilation, group, entry)
        except Refused as refused:
            compilation.note(entry, refused)
    # Known even if it is refused: that is not to be a second problem of those who name it.
    compilation.upstreams[name.lower()] = plan.Upstream(
        name=name,
        balance=group.balance,
        handler=group.handler,
        peers=tuple(peer for peer, _ in group.peers),
        origin=directive.origin,
    )
    if len(compilation.problems) == before:
        _check(group, directive)


def _read_entry(compilation: Compilation, group: _Group, entry: Directive) -> None:
    if entry.name == "server":
        group.peers += [(peer, entry) for peer in _read_server(compilation, entry)]
    elif entry.name in _HANDLER:
        if group.handler is not None:
            raise Refused('"balance_by_python" directive is duplicate')
        group.handler = read_handler(compilation, entry)
    elif entry.name == "zone":
        _check_zone(entry)
    elif entry.name in _METHODS:
        if group.method is not None:
            compilation.warn(entry, "load balancing method redefined")
        group.method = entry
        group.balance = _METHODS[entry.name](compilation, entry)
    else:
        raise Refused(f'directive "{entry.name}" is not supported by this version of qanat')


def _check(group: _Group, directive: Directive) -> None:
    if not group.peers:
        if group.handler is not None:
            return  # Which has to choose then.
        raise Refused("no servers are inside upstream")
    if isinstance(group.balance, plan.Hash | plan.Random):
        for peer, entry in group.peers:
            if peer.backup:
                raise Refused('balancing method does not support parameter "backup"', entry)
    if all(peer.backup for peer, _ in group.peers):
        raise Refused(f'no servers in upstream "{directive.args[0]}"')


def _check_zone(entry: Directive) -> None:
    if len(entry.args) < 2:
        return
    size = parse_size(entry.args[1])
    if size is None:
        raise Refused(f'invalid zone size "{entry.args[1]}"')
    if size < _SMALLEST_ZONE:
        raise Refused(f'zone "{entry.args[0]}" is too small')


def _least_conn(_: Compilation, __: Directive) -> plan.Balance:
    return plan.LeastConn()


def _hash(compilation: Compilation, entry: Directive) -> plan.Balance:
    if entry.args[1:] not in {(), ("consistent",)}:
        raise Refused(f'invalid parameter "{entry.args[1]}"')
    key = template(compilation, entry, entry.args[0])
    return plan.Hash(key=key, consistent=len(entry.args) > 1)


def _random(_: Compilation, entry: Directive) -> plan.Balance:
    expected = ("two", "least_conn")
    for given, wanted in zip(entry.args, expected, strict=False):
        if given != wanted:
            raise Refused(f'invalid parameter "{given}"')
    return plan.Random(two=bool(entry.args))


_METHODS: dict[str, Callable[[Compilation, Directive], plan.Balance]] = {
    "least_conn": _least_conn,
    "hash": _hash,
    "random": _random,
}


def _read_server(compilation: Compilation, entry: Directive) -> list[plan.Peer]:
    address = entry.args[0]
    parameters: dict[str, int] = {}
    for parameter in entry.args[1:]:
        name, equals, value = parameter.partition("=")
        if parameter in {"backup", "down"}:
            parameters[parameter] = 1
            continue
        number = _NUMBERS[name](value) if equals and name in _NUMBERS else None
        if number is None or (name == "weight" and number == 0):
            if name in {"resolve", "service", "slow_start"}:
                raise Refused(f'parameter "{name}" is not supported by this version of qanat')
            raise Refused(f'invalid parameter "{parameter}"')
        parameters[name] = number
    return [
        plan.Peer(
            server=address,
            address=literal,
            weight=parameters.get("weight", 1),
            max_conns=parameters.get("max_conns", 0),
            max_fails=parameters.get("max_fails", 1),
            fail_timeout_ms=parameters.get("fail_timeout", 10_000),
            backup="backup" in parameters,
            down="down" in parameters,
        )
        for literal in resolve_peers(compilation, address, address)
    ]


def _number(text: str) -> int | None:
    number = parse_number(text)
    return number if number is not None and number <= LARGEST_U32 else None


_NUMBERS: dict[str, Callable[[str], int | None]] = {
    "weight": _number,
    "max_conns": _number,
    "max_fails": _number,
    "fail_timeout": parse_time_ms,
}


def resolve_peers(compilation: Compilation, text: str, shown: str = "") -> list[str]:
    """Turn the address of a server into literal addresses, one for each address of its name.

    One that is not found is `shown` in the message, or else only its name.
    """
    if text.startswith(_TUNNEL):
        _check_tunnelled(text)
        return [text]
    try:
        address = parse_address(text)
    except AddressError as error:
        raise Refused(f'{error} in upstream "{text}"') from None
    if address.path:
        return [f"unix:{address.path}"]
    if not address.ports:
        raise Refused(f'no port in upstream "{text}"')
    hosts = compilation.resolve(address.host)
    if not hosts:
        raise Refused(f'host not found in upstream "{shown or address.host}"')
    return [with_port(host, address.ports[0]) for host in hosts]


def _check_tunnelled(text: str) -> None:
    tunnel, slash, service = text.removeprefix(_TUNNEL).partition("/")
    if not slash:
        raise Refused(f'"{text}" has to be "tunnel:TUNNEL/SERVICE"')
    for what, name in (("tunnel", tunnel), ("service", service)):
        fault = name_fault(what, name)
        if fault is not None:
            raise Refused(f'{fault} in upstream "{text}"')


def upstream_of(compilation: Compilation, directive: Directive, text: str) -> str:
    """Find the upstream that `proxy_pass` names, or make one of a literal address; return its
    name."""
    key = text.lower()
    known = compilation.upstreams.get(key)
    if known is not None:
        return known.name
    if key in compilation.known.upstreams:
        return compilation.known.upstreams[key]
    host, _, port = text.rpartition(":")
    if (
        host != _TUNNEL[:-1]
        and host
        and (host.lower() in compilation.upstreams or host.lower() in compilation.known.upstreams)
    ):
        raise Refused(f'upstream "{host}" may not have port {port}')
    compilation.upstreams[key] = plan.Upstream(
        name=text,
        peers=tuple(
            plan.Peer(server=text, address=literal) for literal in resolve_peers(compilation, text)
        ),
        origin=directive.origin,
    )
    return text
