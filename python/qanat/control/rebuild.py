"""A whole state from a configuration and the records of the store, at the start and at a reload.

A stored virtual server that no longer fits is set aside with the reason; the caller decides whether
that is an error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qanat.compiler.compilation import Resolve, resolve_host
from qanat.config.errors import ConfigError
from qanat.control.errors import ChangeRefused
from qanat.control.rule_state import SkippedRule
from qanat.control.rules import bringing_back_rule
from qanat.control.state import FileAccess, Key, Skipped, State, read_stored
from qanat.control.tunnel_state import SkippedTunnel
from qanat.control.tunnels import bringing_back_tunnel
from qanat.control.virtual_servers import bringing_back
from qanat.store.base import Stored, StoredRule, StoredServer, StoredTunnel, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qanat.compiler.compile import Compiled


def rebuild(
    compiled: Compiled,
    files: FileAccess,
    stored: Stored,
    excluded: Mapping[Key, str],
    resolve: Resolve = resolve_host,
) -> State:
    """Bring every record back, in order; `excluded` ones are set aside unread."""
    state = State(compiled, files)
    for rule in stored.rules:
        rule_key = (rule.table, rule.name)
        reason = excluded.get(rule_key) or _bring_rule_back(state, rule, resolve)
        if reason:
            state.rules.skipped[rule_key] = SkippedRule(rule, reason)
    # Tunnels name peers, which have to be there.
    for tunnel in sorted(stored.tunnels, key=lambda record: record.kind != "peer"):
        tunnel_key = (tunnel.kind, tunnel.name)
        reason = excluded.get(tunnel_key) or _bring_tunnel_back(state, tunnel, resolve)
        if reason:
            state.tunnels.skipped[tunnel_key] = SkippedTunnel(tunnel, reason)
    for record in stored.servers:
        key = (record.listener, record.name)
        reason = excluded.get(key) or _bring_back(state, record, resolve)
        if reason:
            state.skipped[key] = Skipped(record, reason)
    return state


def _bring_back(state: State, record: StoredServer, resolve: Resolve) -> str:
    """Add a stored server to the state; return why it cannot be, or nothing."""
    try:
        request, opening = read_stored(record)
        step = bringing_back(state, record.listener, request, opening, resolve)
    except (StoreError, ConfigError, ChangeRefused) as error:
        return str(error)
    added = step.added
    if added is None or added.key != (record.listener, record.name):
        return f"{request.address} is another address now"
    state.take(replace(step, added=replace(added, revision=record.revision)))
    return ""


def _bring_rule_back(state: State, record: StoredRule, resolve: Resolve) -> str:
    """Add a stored rule to the state; return why it cannot be, or nothing."""
    try:
        state.take(bringing_back_rule(state, record, resolve))
    except (StoreError, ChangeRefused) as error:
        return str(error)
    return ""


def _bring_tunnel_back(state: State, record: StoredTunnel, resolve: Resolve) -> str:
    """Add a stored tunnel, service or binding to the state; return why it cannot be, or nothing."""
    try:
        state.take(bringing_back_tunnel(state, record, resolve))
    except (StoreError, ChangeRefused) as error:
        return str(error)
    return ""


def stored_of(state: State) -> Stored:
    """Give what the store holds of a state, in the order in which it is to come back."""
    live = [dynamic.stored() for dynamic in state.dynamic.values()]
    servers = live + [skipped.record for skipped in state.skipped.values()]
    kept = [skipped.record for skipped in state.rules.skipped.values()]
    rules = [*state.rules.records.values(), *kept]
    # Tables come before their rules, whose names are not empty.
    rules.sort(key=lambda rule: (rule.table, rule.name))
    unused = [skipped.record for skipped in state.tunnels.skipped.values()]
    tunnels = [*state.tunnels.records.values(), *unused]
    return Stored(state.revision, tuple(servers), tuple(rules), tuple(tunnels))
