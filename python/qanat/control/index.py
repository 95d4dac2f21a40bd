"""The objects of a plan by kind and id, and the difference between two plans.

A change over the API touches the few ids that it names; only a reload compares everything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qanat.compiler.plan import (
    Certificate,
    ChangeSet,
    Listener,
    LogFormat,
    Objects,
    Removals,
    Server,
    Settings,
    Upstream,
    Variable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qanat.compiler.rule_plan import Rule, RuleTable
    from qanat.compiler.tunnel_plan import Binding, Service, Tunnel, TunnelPeer

# Kind of object -> the field that is its id.
KINDS = {
    "variables": "name",
    "formats": "name",
    "certificates": "id",
    "upstreams": "name",
    "rule_tables": "name",
    "rules": "id",
    "listeners": "id",
    "servers": "id",
    "peers": "name",
    "tunnels": "name",
    "services": "id",
    "bindings": "id",
}


@dataclass(slots=True)
class PlanIndex:
    """Objects by id, one dictionary per kind."""

    variables: dict[str, Variable] = field(default_factory=dict)
    formats: dict[str, LogFormat] = field(default_factory=dict)
    certificates: dict[str, Certificate] = field(default_factory=dict)
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    rule_tables: dict[str, RuleTable] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    listeners: dict[str, Listener] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)
    peers: dict[str, TunnelPeer] = field(default_factory=dict)
    tunnels: dict[str, Tunnel] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    bindings: dict[str, Binding] = field(default_factory=dict)

    @classmethod
    def of(cls, objects: Objects) -> PlanIndex:
        """Index the objects of a compiled configuration."""
        index = cls()
        index.put(objects)
        return index

    def put(self, objects: Objects) -> None:
        """Add objects, replacing those with the same id."""
        for kind, key in KINDS.items():
            table = getattr(self, kind)
            for item in getattr(objects, kind):
                table[getattr(item, key)] = item

    def remove(self, removals: Removals) -> None:
        """Drop objects; an id that is not there is no error."""
        for kind in KINDS:
            table = getattr(self, kind)
            for ident in getattr(removals, kind):
                table.pop(ident, None)

    def objects(self) -> Objects:
        """Give all objects, in the order in which they were put."""
        return Objects(**{kind: tuple(getattr(self, kind).values()) for kind in KINDS})


def diff(old: PlanIndex, new: PlanIndex, revision: int, settings: Settings | None) -> ChangeSet:
    """Compute the step from one plan to another; `settings` only if they changed."""
    put: dict[str, tuple[Any, ...]] = {}
    remove: dict[str, tuple[str, ...]] = {}
    for kind in KINDS:
        before, after = getattr(old, kind), getattr(new, kind)
        put[kind] = _changed(before, after)
        remove[kind] = tuple(ident for ident in before if ident not in after)
    return ChangeSet(
        revision=revision, settings=settings, put=Objects(**put), remove=Removals(**remove)
    )


def _changed(before: dict[str, Any], after: dict[str, Any]) -> tuple[Any, ...]:
    found: Iterable[Any] = (item for ident, item in after.items() if before.get(ident) != item)
    return tuple(found)
