"""`listen`: addresses and options, and the listeners that the servers of a configuration share.

Two servers may share an address; its options may then be given once. A wildcard address swallows
the more specific ones of its port unless they have a socket of their own (`bind`, or any socket
option).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from qanat.compiler import plan, socket_plan
from qanat.compiler.address import AddressError, is_wildcard, parse_address, with_port
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.units import LARGEST_U32, parse_number, parse_size, parse_time_s

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from qanat.config.tree import Directive

Protocol = Literal["tcp", "udp"]

_NOT_WITH_UDP = frozenset(
    {"backlog", "fastopen", "accept_filter", "deferred", "multipath", "ssl", "so_keepalive"}
    | {"proxy_protocol"}
)
_NOT_HERE = {
    "accept_filter": 'accept filters "{}" are not supported on this platform, ignored',
    "setfib": "setfib is not supported on this platform, ignored",
    "multipath": "multipath is not supported on this platform, ignored",
}


@dataclass(slots=True)
class Listen:
    """The options of one `listen`; `set` if a socket option is given, which may be so once per
    address."""

    directive: Directive
    protocol: Protocol = "tcp"
    default_server: bool = False
    tls: bool = False
    proxy_protocol: bool = False
    mesh: bool = False
    bind: bool = False
    set: bool = False
    socket: socket_plan.SocketOptions = field(default_factory=socket_plan.SocketOptions)
    addresses: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the listeners."""
        return tuple(f"{self.protocol}:{address}" for address in self.addresses)


def read_listen(compilation: Compilation, directive: Directive) -> Listen:
    """Read a `listen` directive."""
    listen = Listen(directive)
    seen = _read_options(compilation, listen, directive.args[1:])
    if listen.protocol == "udp":
        for option in seen:
            if option in _NOT_WITH_UDP:
                raise Refused(f'"{option}" parameter is incompatible with "udp"')
    listen.addresses = listen_addresses(compilation, directive.args[0])
    if "ipv6only" in seen and not any(address[0] == "[" for address in listen.addresses):
        raise Refused(f'ipv6only is not supported on addr "{directive.args[0]}"')
    if listen.protocol == "udp" and listen.mesh:
        listen.bind = True  # the original destination is an option of the socket
    return listen


def listen_addresses(compilation: Compilation, text: str) -> tuple[str, ...]:
    """Turn the address of a `listen` into literal addresses, one for each port and address of the
    host."""
    try:
        address = parse_address(text, listen=True)
    except AddressError as error:
        raise Refused(f'{error} in "{text}" of the "listen" directive') from None
    if address.path:
        return (f"unix:{address.path}",)
    if not address.ports:
        raise Refused(f'no port in "{text}" of the "listen" directive')
    hosts = ("0.0.0.0",) if address.host == "*" else compilation.resolve(address.host)  # noqa: S104 - asked for
    if not hosts:
        raise Refused(f'host not found in "{text}" of the "listen" directive')
    return tuple(with_port(host, port) for host in hosts for port in address.ports)


def _read_options(compilation: Compilation, listen: Listen, options: tuple[str, ...]) -> set[str]:
    seen: set[str] = set()
    for option in options:
        name, equals, value = option.partition("=")
        flag = _FLAGS.get(option)
        socket_option = _SOCKET_OPTIONS.get(name) if equals else None
        if flag is not None:
            flag(listen)
        elif socket_option is not None:
            listen.socket = socket_option(listen.socket, value)
            listen.set = listen.bind = True
        elif name in _NOT_HERE:
            compilation.warn(listen.directive, _NOT_HERE[name].format(value))
        else:
            raise Refused(f'invalid parameter "{option}"')
        seen.add(name)
    return seen


def _udp(listen: Listen) -> None:
    listen.protocol = "udp"


def _ssl(listen: Listen) -> None:
    listen.tls = True


def _proxy_protocol(listen: Listen) -> None:
    listen.proxy_protocol = True


def _mesh(listen: Listen) -> None:
    listen.mesh = True


def _default_server(listen: Listen) -> None:
    listen.default_server = True


def _bind(listen: Listen) -> None:
    listen.set = listen.bind = True


def _reuseport(listen: Listen) -> None:
    listen.set = listen.bind = True
    listen.socket = _with(listen.socket, reuseport=True)


def _deferred(listen: Listen) -> None:
    listen.set = listen.bind = True
    listen.socket = _with(listen.socket, deferred=True)


_FLAGS: dict[str, Callable[[Listen], None]] = {
    "udp": _udp,
    "ssl": _ssl,
    "proxy_protocol": _proxy_protocol,
    "mesh": _mesh,
    "default_server": _default_server,
    "bind": _bind,
    "reuseport": _reuseport,
    "deferred": _deferred,
}


def _with(options: socket_plan.SocketOptions, **values: object) -> socket_plan.SocketOptions:
    fields = {name: getattr(options, name) for name in socket_plan.SocketOptions.__struct_fields__}
    return socket_plan.SocketOptions(**(fields | values))


def _backlog(options: socket_plan.SocketOptions, value: str) -> socket_plan.SocketOptions:
    return _with(options, backlog=_positive("backlog", value, parse_number(value)))


def _rcvbuf(options: socket_plan.SocketOptions, value: str) -> socket_plan.SocketOptions:
    return _with(options, rcvbuf=_positive("rcvbuf", value, parse_size(value)))


def _sndbuf(options: socket_plan.SocketOptions, value: str) -> socket_plan.SocketOptions:
    return _with(options, sndbuf=_positive("sndbuf", value, parse_size(value)))


def _fastopen(options: socket_plan.SocketOptions, value: str) -> socket_plan.SocketOptions:
    length = parse_number(value)
    if length is None or length > LARGEST_U32:
        raise Refused(f'invalid fastopen "fastopen={value}"')
    return _with(options, fastopen=length)


def _positive(name: str, value: str, number: int | None) -> int:
    if number is None or not 0 < number <= LARGEST_U32:
        raise Refused(f'invalid {name} "{name}={value}"')
    return number


def _ipv6only(options: socket_plan.SocketOptions, value: str) -> socket_plan.SocketOptions:
    if value not in {"on", "off"}:
        raise Refused(f'invalid ipv6only flags "{value}"')
    return _with(options, ipv6only=value == "on")


def _so_keepalive(options: socket_plan.SocketOptions, value: str) -> socket_plan.SocketOptions:
    if value in {"on", "off"}:
        return _with(options, keepalive=socket_plan.Keepalive(on=value == "on"))
    parts = value.split(":")
    if len(parts) > 3 or not any(parts):
        raise Refused(f'invalid so_keepalive value: "{value}"')
    idle, interval, count = (*parts, "", "")[:3]
    keepalive = socket_plan.Keepalive(
        on=True,
        idle_s=_keepalive_part(value, idle, parse_time_s(idle)),
        interval_s=_keepalive_part(value, interval, parse_time_s(interval)),
        count=_keepalive_part(value, count, parse_number(count)),
    )
    return _with(options, keepalive=keepalive)


def _keepalive_part(value: str, part: str, number: int | None) -> int | None:
    if not part:
        return None
    if number is None or not 0 < number <= LARGEST_U32:
        raise Refused(f'invalid so_keepalive value: "{value}"')
    return number


_SOCKET_OPTIONS: dict[
    str, Callable[[socket_plan.SocketOptions, str], socket_plan.SocketOptions]
] = {
    "backlog": _backlog,
    "rcvbuf": _rcvbuf,
    "sndbuf": _sndbuf,
    "fastopen": _fastopen,
    "ipv6only": _ipv6only,
    "so_keepalive": _so_keepalive,
}


@dataclass(slots=True)
class SharedListener:
    """A listener under construction: what the servers on one address say of it together."""

    id: str
    address: str
    options: Listen
    default_server: str
    servers: list[str]


class Listeners:
    """The listeners of a configuration, by id, in order of first mention."""

    def __init__(self) -> None:
        self.by_id: dict[str, SharedListener] = {}

    def add(self, compilation: Compilation, listen: Listen, server: str) -> None:
        """Attach a server to the addresses of one of its `listen`s."""
        for address, listener_id in zip(listen.addresses, listen.ids, strict=True):
            shared = self.by_id.get(listener_id)
            if shared is None:
                own = replace(listen)
                self.by_id[listener_id] = SharedListener(
                    listener_id, address, own, server, [server]
                )
            elif shared.servers[-1] == server:
                compilation.refuse(listen.directive, f"a duplicate listen {address}")
            else:
                _share(compilation, shared, listen, server)

    def finish(self) -> tuple[plan.Listener, ...]:
        """Make the plan's listeners, now that all addresses are known."""
        return tuple(
            make_listener(shared.options, shared.address, shared.default_server, self.by_id)
            for shared in self.by_id.values()
        )


def _share(compilation: Compilation, shared: SharedListener, listen: Listen, server: str) -> None:
    shared.servers.append(server)
    options = shared.options
    if listen.set:
        if options.set:
            compilation.refuse(listen.directive, f"duplicate listen options for {shared.address}")
        options.socket, options.set = listen.socket, True
    if listen.default_server:
        if options.default_server:
            message = f"a duplicate default server for {shared.address}"
            compilation.refuse(listen.directive, message)
        options.default_server = True
        shared.default_server = server
    before = (options.tls, options.proxy_protocol)
    after = (listen.tls, listen.proxy_protocol)
    if before != after and any(before) and any(after):
        compilation.warn(listen.directive, f"protocol options redefined for {shared.address}")
    options.tls |= listen.tls
    options.proxy_protocol |= listen.proxy_protocol
    options.mesh |= listen.mesh
    options.bind |= listen.bind


def make_listener(
    options: Listen, address: str, default_server: str, others: Container[str]
) -> plan.Listener:
    """Make a listener; `others` holds the ids of the listeners beside it, where its wildcard
    parent may be."""
    parent = None if options.bind else wildcard_of(options.protocol, address)
    return plan.Listener(
        id=f"{options.protocol}:{address}",
        protocol=options.protocol,
        address=address,
        parent=parent if parent is not None and parent in others else None,
        default_server=default_server,
        tls=options.tls,
        proxy_protocol=options.proxy_protocol,
        mesh=options.mesh,
        socket=options.socket,
        origin=options.directive.origin,
    )


def wildcard_of(protocol: str, address: str) -> str | None:
    """Name the wildcard listener that would swallow an address; None if it is one itself, or a
    unix socket."""
    if address.startswith("unix:"):
        return None
    host, _, port = address.rpartition(":")
    bare = host.strip("[]")
    if is_wildcard(bare):
        return None
    return f"{protocol}:[::]:{port}" if ":" in bare else f"{protocol}:0.0.0.0:{port}"
