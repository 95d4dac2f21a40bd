"""A virtual server from an API request, with NJet's rules and words for `stream_srv`.

Nothing here depends on how many servers exist: a compile looks names up in the `Scope` and reads
only the request. Whether the name is free on the listener is for the caller to decide, who owns
the live state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qanat.compiler.compilation import (
    Compilation,
    Known,
    Refused,
    Resolve,
    World,
    host_name,
    resolve_host,
)
from qanat.compiler.handlers import CERTIFICATE as CERTIFICATE_HANDLERS
from qanat.compiler.inherit import Level
from qanat.compiler.listen import Listen, make_listener, read_listen
from qanat.compiler.log import check_formats
from qanat.compiler.server import Identity, ServerBlock, make_server, read_server
from qanat.compiler.server_name import Names, add_name
from qanat.compiler.tls import CERTIFICATE, CERTIFICATE_KEY
from qanat.compiler.variables import check_used
from qanat.config.errors import ConfigError, Problem
from qanat.config.parse import parse_text
from qanat.config.tree import Directive

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from qanat.compiler import plan
    from qanat.config.paths import Paths

ADDRESS, NAME, BODY, OPTION = "addr_port", "server_name", "server_body", "listen_option"


@dataclass(frozen=True, slots=True)
class VirtualServerRequest:
    """What a caller asks for; `address` is the text of a `listen`, options included."""

    address: str
    server_name: str
    body: str = ""
    listen_option: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a virtual server is added to: views of the live state, looked up and never copied.

    `upstreams` maps lower-case names of `upstream` blocks to the names as written;
    `dynamic_listeners` holds the ids of listeners opened by requests; `allow_files` permits
    `include` and files outside the product's directories; `pid` may not be named as a log.
    """

    paths: Paths
    variables: Container[str] = frozenset()
    formats: Container[str] = frozenset()
    upstreams: Mapping[str, str] = field(default_factory=dict)
    rule_tables: Container[str] = frozenset()
    listeners: Mapping[str, plan.Listener] = field(default_factory=dict)
    dynamic_listeners: Container[str] = frozenset()
    defaults: Level = field(default_factory=Level)
    allow_files: bool = False
    pid: Path | None = None
    hostname: str = field(default_factory=host_name)
    resolve: Resolve = resolve_host


@dataclass(frozen=True, slots=True)
class VirtualServer:
    """A compiled virtual server; `listener` is None if the address is listened on already."""

    listener: plan.Listener | None
    server: plan.Server
    upstreams: tuple[plan.Upstream, ...]
    certificates: tuple[plan.Certificate, ...]
    warnings: tuple[Problem, ...] = ()


def compile_virtual_server(request: VirtualServerRequest, scope: Scope) -> VirtualServer:
    """Compile a request; raise `ConfigError` with all problems, first those of the address, then
    name and body."""
    compilation = compilation_of(scope)
    listen = _read_address(compilation, request, scope)
    names = _read_name(compilation, request.server_name)
    block = _read_body(compilation, request.body, scope)
    check_used(compilation)
    check_formats(compilation)
    if listen is None or compilation.problems:
        raise ConfigError(dict.fromkeys(compilation.problems))
    block.names = names
    listener_id = listen.ids[0]
    known = scope.listeners.get(listener_id)
    _check_tls(block, known.tls if known is not None else listen.tls)
    server_id = f"{listener_id}/{names.first.lower()}"
    server = make_server(compilation, block, Identity(server_id, (listener_id,), BODY))
    if compilation.problems:
        raise ConfigError(dict.fromkeys(compilation.problems))
    listener = None
    if known is None:
        listener = make_listener(listen, listen.addresses[0], server_id, scope.listeners)
    return VirtualServer(
        listener=listener,
        server=server,
        upstreams=tuple(compilation.upstreams.values()),
        certificates=tuple(compilation.certificates.values()),
        warnings=tuple(dict.fromkeys(compilation.warnings)),
    )


def listener_of(address: str, scope: Scope) -> str:
    """Name the listener that the address of a request stands for; raise `ConfigError` if it is not
    an address."""
    compilation = compilation_of(scope)
    listen = _read_listen(compilation, _listen_directive(address.split(), ADDRESS))
    if listen is None:
        raise ConfigError(compilation.problems)
    return listen.ids[0]


def compilation_of(scope: Scope) -> Compilation:
    """Begin a compile of something that is added to the live state."""
    return Compilation(
        World(scope.paths, scope.hostname, scope.resolve),
        Known(scope.variables, scope.formats, scope.upstreams, scope.rule_tables),
        dynamic=True,
        allow_files=scope.allow_files,
        pid=scope.pid,
    )


def _read_address(
    compilation: Compilation, request: VirtualServerRequest, scope: Scope
) -> Listen | None:
    words = request.address.split()
    listen = _read_listen(compilation, _listen_directive(words, ADDRESS))
    options = request.listen_option.split()
    if listen is None or not options:
        return listen
    if listen.ids[0] in scope.listeners:
        _check_option_of_known(compilation, options, listen.ids[0], scope)
        return listen
    if "udp" in options:
        compilation.problems.append(Problem("udp should be added to addr_port, not listen option"))
        return None
    return _read_listen(compilation, _listen_directive(words + options, OPTION))


def _check_option_of_known(
    compilation: Compilation, options: list[str], listener_id: str, scope: Scope
) -> None:
    # Options other than `ssl` are ignored, as NJet does: the listener keeps what it was opened
    # with.
    if "ssl" not in options:
        return
    is_plain = not scope.listeners[listener_id].tls
    if is_plain and listener_id in scope.dynamic_listeners:
        compilation.problems.append(Problem("try to add ssl to a non-ssl new added vs"))
    else:
        message = "dyn server listen option only works for unlistened port"
        compilation.problems.append(Problem(message))


def _listen_directive(words: list[str], source: str) -> Directive:
    return Directive("listen", tuple(words), source, 1)


def _read_listen(compilation: Compilation, directive: Directive) -> Listen | None:
    try:
        if not directive.args:
            raise Refused('invalid number of arguments in "listen" directive')
        listen = read_listen(compilation, directive)
        if len(listen.addresses) != 1:
            raise Refused(f'"{directive.args[0]}" stands for several addresses, one is needed')
    except Refused as refused:
        compilation.note(directive, refused)
        return None
    return listen


def _read_name(compilation: Compilation, text: str) -> Names:
    names = Names()
    place = Directive("server_name", (text,), NAME, 1)
    name = text.strip()
    if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'":
        name = name[1:-1]
    try:
        if any(character.isspace() for character in name):
            raise Refused("dynamic server only support one name!")
        if not name.startswith("~") and any(character in ";{}" for character in name):
            raise Refused(f'server name "{name}" is invalid')
        names.written.append((add_name(compilation, place, name, names), place))
    except Refused as refused:
        if refused.message.startswith("invalid server name or wildcard"):
            compilation.problems.append(Problem("njt_stream_optimize_servers error!"))
        else:
            compilation.note(place, refused)
    return names


def _read_body(compilation: Compilation, body: str, scope: Scope) -> ServerBlock:
    include_base = scope.paths.conf.parent if scope.allow_files else None
    try:
        directives = parse_text(body, BODY, "server", include_base)
    except ConfigError as error:
        compilation.problems += error.problems
        directives = ()
    return read_server(compilation, directives, scope.defaults)


def _check_tls(block: ServerBlock, is_tls: bool) -> None:
    # Even where the listener's default rejects handshakes, and with `ssl_reject_handshake` here.
    if not is_tls or block.level.items(CERTIFICATE_HANDLERS):
        return
    if not block.level.items(CERTIFICATE_KEY):
        raise ConfigError([Problem("no ssl_certificate_key!")])
    if not block.level.items(CERTIFICATE):
        raise ConfigError([Problem("no ssl_certificate!")])
