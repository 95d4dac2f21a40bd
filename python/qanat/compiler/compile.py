"""A whole configuration, from its tree to plan objects: the passes in order. All problems are
reported at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec import structs

from qanat.compiler import plan
from qanat.compiler.compilation import Compilation, Refused, Resolve, World, resolve_host
from qanat.compiler.control import control_endpoints
from qanat.compiler.handler_sources import HandlerSources
from qanat.compiler.handlers import LIMITS, read_init, read_limit, read_path
from qanat.compiler.inherit import Level
from qanat.compiler.listen import Listeners
from qanat.compiler.log import check_formats, read_log_format
from qanat.compiler.main import (
    ProcessSettings,
    error_logs,
    make_process,
    make_settings,
    read_control_file,
    read_main,
)
from qanat.compiler.rules_block import read_rules
from qanat.compiler.server import (
    Identity,
    ServerBlock,
    make_server,
    read_level,
    read_server,
)
from qanat.compiler.server_name import NamesOfListeners
from qanat.compiler.tls import REJECT_HANDSHAKE, has_certificate
from qanat.compiler.tunnel_addresses import check_addresses
from qanat.compiler.tunnel_block import TunnelsBlock, read_tunnels
from qanat.compiler.tunnels import join
from qanat.compiler.upstream import read_upstream
from qanat.compiler.variables import check_used, read_map
from qanat.config.collection import no_collection
from qanat.config.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qanat.compiler.rules import RuleSpec
    from qanat.config.paths import Paths
    from qanat.config.tree import Directive, Tree


@dataclass(frozen=True, slots=True)
class Compiled:
    """A configuration ready to run.

    `defaults` is what virtual servers added later inherit, and `upstream_names` what they may name
    in `proxy_pass`: the `upstream` blocks, by lower-case name.
    """

    settings: plan.Settings
    objects: plan.Objects
    process: ProcessSettings
    warnings: tuple[Problem, ...]
    defaults: Level = field(default_factory=Level)
    upstream_names: Mapping[str, str] = field(default_factory=dict)
    handlers: HandlerSources = field(default_factory=HandlerSources)
    rules: Mapping[str, Mapping[str, RuleSpec]] = field(default_factory=dict)
    """The rules of each table as written, by name."""
    tunnels: TunnelsBlock = field(default_factory=TunnelsBlock)


def compile_config(
    tree: Tree,
    paths: Paths,
    control: Tree | None = None,
    *,
    error_log: str | None = None,
    resolve: Resolve = resolve_host,
    functions: Mapping[str, Callable[..., object]] | None = None,
) -> Compiled:
    """Compile a configuration; raise `ConfigError` with all its problems.

    `control` is the tree of the file that `control_file` finds; `error_log` is the default log
    (`-e`). `functions` are handlers that are no part of a module, by the names that the tree has.
    """
    with no_collection():
        compilation = Compilation(World(paths, resolve=resolve, functions=functions or {}))
        compilation.handlers.functions = compilation.world.functions
        return _compile(compilation, tree, control, error_log)


def _compile(
    compilation: Compilation, tree: Tree, control: Tree | None, error_log: str | None
) -> Compiled:
    main = read_main(compilation, tree)
    process_level = read_control_file(compilation, control).inside(main.values)
    endpoints = control_endpoints(compilation, tree, control)
    logs = error_logs(compilation, main, error_log)
    stream = _read_stream(compilation, _only_stream(compilation, tree))
    tunnels = read_tunnels(compilation, tree, stream.level)
    check_addresses(compilation, tree, tunnels, stream.listeners.finish())
    check_used(compilation)
    check_formats(compilation)
    if compilation.problems:
        raise ConfigError(_in_order(compilation.problems, tree, control))
    settings = make_settings(compilation, process_level, logs)
    return Compiled(
        settings=structs.replace(settings, tunnels=tunnels.node if tunnels.is_there else None),
        objects=join([stream.objects(compilation), tunnels.objects()]),
        process=make_process(compilation, process_level, logs, endpoints),
        warnings=_in_order(compilation.warnings, tree, control),
        defaults=stream.level,
        upstream_names=stream.upstream_names,
        handlers=compilation.handlers,
        rules=compilation.rule_specs,
        tunnels=tunnels,
    )


def _only_stream(compilation: Compilation, tree: Tree) -> Directive | None:
    blocks = list(tree.find("stream"))
    for another in blocks[1:]:
        compilation.refuse(another, '"stream" directive is duplicate')
    return blocks[0] if blocks else None


def _in_order(problems: list[Problem], tree: Tree, control: Tree | None) -> tuple[Problem, ...]:
    files = (*tree.files, *(control.files if control is not None else ()))
    rank = {file.path: number for number, file in enumerate(files)}
    distinct = dict.fromkeys(problems)
    return tuple(
        sorted(distinct, key=lambda problem: (rank.get(problem.file, len(rank)), problem.line))
    )


@dataclass(slots=True)
class _Stream:
    """What the stream block gave."""

    level: Level = field(default_factory=Level)
    listeners: Listeners = field(default_factory=Listeners)
    servers: list[plan.Server] = field(default_factory=list)
    upstream_names: dict[str, str] = field(default_factory=dict)

    def objects(self, compilation: Compilation) -> plan.Objects:
        return plan.Objects(
            variables=tuple(compilation.variables.values()),
            formats=tuple(compilation.formats.values()),
            certificates=tuple(compilation.certificates.values()),
            upstreams=tuple(compilation.upstreams.values()),
            rule_tables=tuple(compilation.rule_tables.values()),
            rules=tuple(compilation.rules.values()),
            listeners=self.listeners.finish(),
            servers=tuple(self.servers),
        )


_OBJECTS: dict[str, Callable[[Compilation, Directive], None]] = {
    "map": read_map,
    "log_format": read_log_format,
    "upstream": read_upstream,
    "init_by_python": read_init,
    "init_by_python_block": read_init,
    "python_path": read_path,
    **dict.fromkeys(LIMITS, read_limit),
}
_WITHOUT_EFFECT = frozenset(
    {
        "server_names_hash_max_size",
        "server_names_hash_bucket_size",
        "variables_hash_max_size",
        "variables_hash_bucket_size",
        "map_hash_max_size",
        "map_hash_bucket_size",
        "server_traffic_status_zone",
        "server_traffic_status",
    }
)


def _read_stream(compilation: Compilation, directive: Directive | None) -> _Stream:
    # Servers may refer to what is defined below them, so they come last.
    stream = _Stream()
    settings: list[Directive] = []
    servers: list[Directive] = []
    rules: list[Directive] = []
    for entry in directive.block or () if directive is not None else ():
        if entry.name == "server":
            servers.append(entry)
        elif entry.name == "rules":
            rules.append(entry)
        elif entry.name in _OBJECTS:
            try:
                _OBJECTS[entry.name](compilation, entry)
            except Refused as refused:
                compilation.note(entry, refused)
        elif entry.name not in _WITHOUT_EFFECT:
            settings.append(entry)
    stream.upstream_names = {key: one.name for key, one in compilation.upstreams.items()}
    for entry in rules:
        read_rules(compilation, entry)
    stream.level = read_level(compilation, settings)
    _read_servers(compilation, stream, servers)
    return stream


def _read_servers(compilation: Compilation, stream: _Stream, entries: list[Directive]) -> None:
    names = NamesOfListeners()
    repeated: dict[str, int] = {}
    blocks: dict[str, tuple[ServerBlock, Directive]] = {}
    for entry in entries:
        before = len(compilation.problems)
        block = read_server(compilation, entry.block or (), stream.level)
        listeners = tuple(dict.fromkeys(one for listen in block.listens for one in listen.ids))
        if not listeners:
            if len(compilation.problems) == before:
                compilation.refuse(entry, 'no "listen" is defined for server')
            listeners = ("",)
        identity = Identity(_unique_id(block, listeners[0], repeated), listeners, entry.origin)
        for listen in block.listens:
            stream.listeners.add(compilation, listen, identity.id)
        names.claim(compilation, entry, block.names, listeners)
        stream.servers.append(make_server(compilation, block, identity))
        blocks[identity.id] = block, entry
    _check_tls(compilation, stream, blocks)


def _unique_id(block: ServerBlock, listener: str, repeated: dict[str, int]) -> str:
    server_id = f"{listener}/{block.names.first.lower()}"
    count = repeated[server_id] = repeated.get(server_id, 0) + 1
    return server_id if count == 1 else f"{server_id}#{count}"


def _check_tls(
    compilation: Compilation, stream: _Stream, blocks: dict[str, tuple[ServerBlock, Directive]]
) -> None:
    """Ask for a certificate in the default server of each TLS listener, or in all servers if that
    one rejects."""
    for shared in stream.listeners.by_id.values():
        if not shared.options.tls:
            continue
        rejects = blocks[shared.default_server][0].level.get(REJECT_HANDSHAKE)
        for server_id in shared.servers if rejects else (shared.default_server,):
            block, entry = blocks[server_id]
            if not has_certificate(block.level) and not block.level.get(REJECT_HANDSHAKE):
                message = 'no "ssl_certificate" is defined for the "listen ... ssl" directive'
                compilation.refuse(entry, message)
