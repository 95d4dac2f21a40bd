"""Adding and removing a virtual server, as steps computed from the state.

A virtual server joins the listener of its address if there is one, and opens it otherwise. The
first of a listener that the API opened is its default; when it goes, the next becomes the default;
the last one closes the listener.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from qanat.compiler.compilation import Resolve, resolve_host
from qanat.compiler.plan import Listener, Objects, Removals, Server
from qanat.compiler.virtual_server import (
    VirtualServer,
    VirtualServerRequest,
    compile_virtual_server,
    listener_of,
)
from qanat.config.errors import ConfigError
from qanat.control.errors import ServerExists, ServerIsStatic, ServerNotFound
from qanat.control.names import check_name, name_key, spellings
from qanat.control.scope import scope_of
from qanat.control.state import DynamicServer, Key, Opening, State, Step, references


def adding(state: State, request: VirtualServerRequest, resolve: Resolve = resolve_host) -> Step:
    """Compute the step that adds a virtual server. Raise `ConfigError` or a `ChangeRefused`."""
    check_name(name_key(request.server_name))
    result = compile_virtual_server(request, scope_of(state, resolve))
    return _step(state, request, result, _opening(state, request, result))


def bringing_back(
    state: State,
    listener: str,
    request: VirtualServerRequest,
    opening: Opening,
    resolve: Resolve = resolve_host,
) -> Step:
    """Compute the step that adds a stored virtual server of a listener again.

    It opens its listener with the words that opened it first, or joins what is there now.
    Raise `ConfigError` or a `ChangeRefused`.
    """
    if listener in state.index.listeners:
        words = replace(request, listen_option="")
    else:
        words = replace(request, address=opening.address, listen_option=opening.listen_option)
    return _step(state, request, compile_virtual_server(words, scope_of(state, resolve)), opening)


def removing(state: State, address: str, server_name: str, resolve: Resolve = resolve_host) -> Step:
    """Compute the step that removes a virtual server of the API. Raise a `ChangeRefused`."""
    name = name_key(server_name)
    try:
        listener = listener_of(address, scope_of(state, resolve))
    except ConfigError as error:
        raise ServerNotFound(address, server_name) from error
    dynamic = _find(state, (listener, name))
    if dynamic is None:
        skipped = state.skipped.get((listener, name))
        if skipped is not None:
            return Step(unskipped=skipped)
        if state.owner((listener, name)) is not None:
            raise ServerIsStatic(server_name)
        raise ServerNotFound(address, server_name)
    server = state.index.servers[dynamic.server]
    unused = _unused(state, server)
    closes = _closes(state, dynamic)
    removals = Removals(
        servers=(server.id,),
        listeners=(listener,) if closes else (),
        upstreams=unused["upstreams"],
        certificates=unused["certificates"],
    )
    put = Objects(listeners=_heirs(state, dynamic, closes=closes))
    return Step(put=put, remove=removals, removed=dynamic)


def _step(
    state: State, request: VirtualServerRequest, result: VirtualServer, opening: Opening
) -> Step:
    server = result.server
    listener = server.listeners[0]
    taken = any(state.owner((listener, name)) is not None for name in spellings(server))
    if taken or server.id in state.index.servers:
        raise ServerExists(request.address, request.server_name)
    key = (listener, name_key(request.server_name))
    added = DynamicServer(
        key=key,
        server=server.id,
        request=request,
        opening=opening,
        revision=state.revision + 1,
    )
    return Step(
        put=_new_objects(state, result),
        added=added,
        unskipped=state.skipped.get(key),
        warnings=tuple(str(warning) for warning in result.warnings),
    )


def _opening(state: State, request: VirtualServerRequest, result: VirtualServer) -> Opening:
    """Keep the words that open the listener: the caller's own, or those of the one being joined."""
    if result.listener is not None:
        return Opening(request.address, request.listen_option)
    listener = state.index.listeners[result.server.listeners[0]]
    members = state.members.get(listener.id)
    if members and not state.is_static("listeners", listener.id):
        return state.dynamic[next(iter(members.values()))].opening
    flags = {"ssl": listener.tls, "mesh": listener.mesh, "proxy_protocol": listener.proxy_protocol}
    address = listener.address + (" udp" if listener.protocol == "udp" else "")
    return Opening(address, " ".join(flag for flag, on in flags.items() if on))


def _new_objects(state: State, result: VirtualServer) -> Objects:
    index = state.index
    return Objects(
        servers=(result.server,),
        listeners=() if result.listener is None else (result.listener,),
        upstreams=tuple(u for u in result.upstreams if u.name not in index.upstreams),
        certificates=tuple(c for c in result.certificates if c.id not in index.certificates),
    )


def _find(state: State, key: Key) -> DynamicServer | None:
    found = state.dynamic.get(key)
    if found is not None:
        return found
    owner = state.owner(key)
    member = state.members.get(key[0], {}).get(owner) if owner is not None else None
    return None if member is None else state.dynamic[member]


def _unused(state: State, server: Server) -> dict[str, tuple[str, ...]]:
    unused: dict[str, list[str]] = {"upstreams": [], "certificates": []}
    for kind, ident in references(server):
        # Tables of rules stand by themselves.
        if kind not in unused:
            continue
        if state.references[kind, ident] == 1 and not state.is_static(kind, ident):
            unused[kind].append(ident)
    return {kind: tuple(ids) for kind, ids in unused.items()}


def _closes(state: State, dynamic: DynamicServer) -> bool:
    listener, _ = dynamic.key
    return not state.is_static("listeners", listener) and len(state.members[listener]) == 1


def _heirs(state: State, dynamic: DynamicServer, *, closes: bool) -> tuple[Listener, ...]:
    """List the listeners that look different once the server is gone."""
    ident, _ = dynamic.key
    if closes:
        # Listeners whose sessions came through this one's socket now need their own.
        children = (item for item in state.index.listeners.values() if item.parent == ident)
        return tuple(msgspec.structs.replace(child, parent=None) for child in children)
    listener = state.index.listeners[ident]
    if listener.default_server != dynamic.server:
        return ()
    members = state.members[ident]
    heir = next(server for server in members if server != dynamic.server)
    return (msgspec.structs.replace(listener, default_server=heir),)
