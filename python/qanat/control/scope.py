"""What a virtual server of the API may refer to: views of the live state, nothing copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.compiler.compilation import Resolve, resolve_host
from qanat.compiler.virtual_server import Scope

if TYPE_CHECKING:
    from qanat.control.state import State


def scope_of(state: State, resolve: Resolve = resolve_host) -> Scope:
    """Give the compiler a view of the names that are live; `resolve` finds those of hosts."""
    compiled = state.compiled
    return Scope(
        paths=state.files.paths,
        variables=state.index.variables,
        formats=state.index.formats,
        upstreams=compiled.upstream_names,
        rule_tables=state.index.rule_tables,
        listeners=state.index.listeners,
        dynamic_listeners=_Opened(state),
        defaults=compiled.defaults,
        allow_files=state.files.anywhere,
        pid=compiled.process.pid,
        hostname=compiled.settings.hostname,
        resolve=resolve,
    )


class _Opened:
    """The listeners that the API opened."""

    def __init__(self, state: State) -> None:
        self._state = state

    def __contains__(self, listener: object) -> bool:
        state = self._state
        return listener in state.index.listeners and listener not in state.base.listeners
