"""Which stored objects a refusal of the engine is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.control.errors import ListenRefused
from qanat.control.index import KINDS
from qanat.control.rule_state import rule_references
from qanat.control.state import references

if TYPE_CHECKING:
    from qanat.control.errors import PlanRefused
    from qanat.control.state import Key, State


def blamed(state: State, error: PlanRefused | ListenRefused) -> list[Key]:
    """Find what the API added that a refusal is about; nothing if the file is to blame."""
    if isinstance(error, ListenRefused):
        kind, ident = "listeners", error.listener
    else:
        kind, ident = error.kind, error.ident
    if kind in KINDS and state.is_static(kind, ident):
        return []
    if kind == "rules":
        table, _, name = ident.partition("/")
        return [(table, name)]
    if kind == "rule_tables":
        return [(ident, "")]
    if kind == "listeners":
        return [*state.members.get(ident, {}).values(), *_services_at(state, ident)]
    rules = [
        key
        for key in state.rules.records
        if key[1] and (kind, ident) in rule_references(state.index.rules["/".join(key)])
    ]
    return rules + [
        key
        for key, dynamic in state.dynamic.items()
        if (kind == "servers" and dynamic.server == ident)
        or (kind, ident) in references(state.index.servers[dynamic.server])
    ]


def _services_at(state: State, listener: str) -> list[Key]:
    """Find the local services of the API whose clients connect there."""
    services = state.tunnels.model.local.items()
    return [
        ("local", name)
        for name, service in services
        if f"{service.protocol}:{service.address}" == listener
        and ("local", name) in state.tunnels.records
    ]
