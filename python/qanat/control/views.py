"""What the gateway shows of itself, as typed records for the API and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

import qanat
from qanat.compiler.plan import (
    HandlerContent,
    ProxyContent,
    ProxyToUpstream,
    ReturnContent,
    Server,
    Template,
)
from qanat.compiler.rule_plan import ProxyToRules
from qanat.control.names import spellings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qanat.control.engine import Engine
    from qanat.control.state import State


class ContentView(msgspec.Struct, frozen=True):
    """What a virtual server does with a session: `type` is `return`, `proxy`, `rules`, `handler` or
    `none`."""

    type: str
    value: str = ""


class ServerView(msgspec.Struct, frozen=True):
    """A virtual server."""

    id: str
    listeners: tuple[str, ...]
    names: tuple[str, ...]
    content: ContentView
    dynamic: bool
    sessions: int
    origin: str


class ListenerView(msgspec.Struct, frozen=True):
    """A listening address."""

    id: str
    protocol: str
    address: str
    tls: bool
    mesh: bool
    proxy_protocol: bool
    default_server: str
    dynamic: bool


class SkippedView(msgspec.Struct, frozen=True):
    """A stored virtual server that is not served, and why."""

    listener: str
    name: str
    message: str


class SkippedRuleView(msgspec.Struct, frozen=True):
    """A stored rule that is not served, or with an empty name a table of rules, and why."""

    table: str
    name: str
    message: str


class StatusView(msgspec.Struct, frozen=True):
    """The gateway as a whole."""

    version: str
    node_name: str
    cluster_name: str
    pid: int
    uptime_s: float
    revision: int
    workers: int
    sessions: int
    servers: int
    listeners: tuple[ListenerView, ...]
    skipped: tuple[SkippedView, ...]
    rule_tables: int
    rules: int
    skipped_rules: tuple[SkippedRuleView, ...]


def server_views(state: State, engine: Engine) -> tuple[ServerView, ...]:
    """Show all virtual servers, those of the file first."""
    open_sessions = _sessions(engine)
    servers = state.index.servers.values()
    return tuple(_server(state, server, open_sessions) for server in servers)


def server_view(state: State, engine: Engine, ident: str) -> ServerView | None:
    """Show one virtual server; None if there is none of this id."""
    server = state.index.servers.get(ident)
    return None if server is None else _server(state, server, _sessions(engine))


def status_view(state: State, engine: Engine, *, pid: int, uptime_s: float) -> StatusView:
    """Show the gateway as a whole."""
    process = state.compiled.process
    return StatusView(
        version=qanat.__version__,
        node_name=process.node_name,
        cluster_name=process.cluster_name,
        pid=pid,
        uptime_s=round(uptime_s, 3),
        revision=state.revision,
        workers=process.worker_processes,
        sessions=engine.sessions(),
        servers=len(state.index.servers),
        listeners=tuple(_listeners(state)),
        skipped=tuple(
            SkippedView(item.record.listener, item.record.name, item.message)
            for item in state.skipped.values()
        ),
        rule_tables=len(state.index.rule_tables),
        rules=len(state.index.rules),
        skipped_rules=tuple(
            SkippedRuleView(rule.record.table, rule.record.name, rule.message)
            for rule in state.rules.skipped.values()
        ),
    )


def _server(state: State, server: Server, open_sessions: Mapping[str, int]) -> ServerView:
    return ServerView(
        id=server.id,
        listeners=server.listeners,
        names=tuple(name for name in spellings(server) if name),
        content=_content(server),
        dynamic=not state.is_static("servers", server.id),
        sessions=open_sessions.get(server.id, 0),
        origin=server.origin,
    )


def _content(server: Server) -> ContentView:
    content = server.content
    if isinstance(content, ReturnContent):
        return ContentView("return", _text(content.text))
    if isinstance(content, ProxyContent):
        target = content.proxy.target
        if isinstance(target, ProxyToUpstream):
            return ContentView("proxy", target.name)
        if isinstance(target, ProxyToRules):
            return ContentView("rules", target.table)
        return ContentView("proxy", _text(target.value))
    if isinstance(content, HandlerContent):
        return ContentView("handler", content.handler)
    return ContentView("none")


def _text(template: Template) -> str:
    return "".join(f"${{{text}}}" if is_variable else text for is_variable, text in template)


def _listeners(state: State) -> Iterable[ListenerView]:
    for listener in state.index.listeners.values():
        yield ListenerView(
            id=listener.id,
            protocol=listener.protocol,
            address=listener.address,
            tls=listener.tls,
            mesh=listener.mesh,
            proxy_protocol=listener.proxy_protocol,
            default_server=listener.default_server,
            dynamic=not state.is_static("listeners", listener.id),
        )


def _sessions(engine: Engine) -> dict[str, int]:
    """Read the open sessions by server."""
    return msgspec.msgpack.decode(engine.snapshot("servers"), type=dict[str, int])
