"""A `server` block: its directives read once, then merged with the level around it into a virtual
server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qanat.compiler import access, content, handlers, log, plan, preread, proxy, tls
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.frame import FRAME, note_variables
from qanat.compiler.inherit import Level, by_directive, read_setting
from qanat.compiler.listen import Listen, read_listen
from qanat.compiler.server_name import Names, read_server_name
from qanat.compiler.variables import read_set

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qanat.config.tree import Directive

_INHERITED = (
    *(*access.SETTINGS, *tls.SETTINGS, *proxy.SETTINGS, *log.SETTINGS),
    *preread.SETTINGS,
    *handlers.SETTINGS,
)
_OF_STREAM = by_directive(_INHERITED)
_OF_SERVER = by_directive((*_INHERITED, *content.SETTINGS))
_WITHOUT_EFFECT = frozenset({"server_traffic_status"})


@dataclass(slots=True)
class ServerBlock:
    """What one `server` block says."""

    level: Level
    names: Names = field(default_factory=Names)
    listens: list[Listen] = field(default_factory=list)
    variables: list[plan.SetVariable] = field(default_factory=list)
    content: Directive | None = None


def read_level(compilation: Compilation, directives: Iterable[Directive]) -> Level:
    """Read the settings of `stream` that its servers inherit."""
    values: dict[str, object] = {}
    for directive in directives:
        setting = _OF_STREAM.get(directive.name)
        if setting is None:
            compilation.refuse(directive, not_supported(directive))
        else:
            read_setting(compilation, directive, setting, values)
    return Level(values)


def not_supported(directive: Directive) -> str:
    """Word the refusal of a directive that no pass reads."""
    return f'directive "{directive.name}" is not supported by this version of qanat'


def read_server(
    compilation: Compilation, directives: Iterable[Directive], outer: Level
) -> ServerBlock:
    """Read the directives of a `server` block."""
    values: dict[str, object] = {}
    block = ServerBlock(outer)
    for directive in directives:
        setting = _OF_SERVER.get(directive.name)
        if setting is not None:
            read_setting(compilation, directive, setting, values)
            if directive.name in content.DIRECTIVES:
                block.content = directive
            continue
        try:
            _read_own(compilation, block, directive)
        except Refused as refused:
            compilation.note(directive, refused)
    handlers.add_to_outer(outer, values)
    block.level = outer.inside(values)
    note_variables(compilation, block.level.get(FRAME))
    return block


def _read_own(compilation: Compilation, block: ServerBlock, directive: Directive) -> None:
    match directive.name:
        case "listen":
            block.listens.append(read_listen(compilation, directive))
        case "server_name":
            read_server_name(compilation, directive, block.names)
        case "set":
            block.variables.append(read_set(compilation, directive))
        case name if name not in _WITHOUT_EFFECT:
            raise Refused(not_supported(directive))


@dataclass(frozen=True, slots=True)
class Identity:
    """What a server is called and where it stands."""

    id: str
    listeners: tuple[str, ...]
    origin: str


def make_server(compilation: Compilation, block: ServerBlock, identity: Identity) -> plan.Server:
    """Merge a block with the level around it."""
    level = block.level
    error_log = level.items(log.ERROR_LOG)
    return plan.Server(
        id=identity.id,
        listeners=identity.listeners,
        name=block.names.first,
        names=tuple(dict.fromkeys(block.names.kinds)),
        error_log=error_log or None,
        access=level.items(access.RULES) or (),
        set=tuple(block.variables),
        preread=preread.make_preread(level),
        handlers=handlers.make_handlers(level),
        proxy_protocol_timeout_ms=level.get(preread.PROXY_PROTOCOL_TIMEOUT),
        tcp_nodelay=level.get(preread.TCP_NODELAY),
        tls=tls.server_tls(compilation, level),
        content=content.make_content(compilation, block.content, level),
        access_log=log.access_logs(level.items(log.ACCESS_LOG) or ()),
        origin=identity.origin,
    )
