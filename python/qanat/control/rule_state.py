"""What is kept of rules: records of those that the API added, and which rules each table has."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qanat.compiler.rule_plan import PassTo, Rule, RuleTable

if TYPE_CHECKING:
    from qanat.compiler.plan import Objects, Removals
    from qanat.control.index import PlanIndex
    from qanat.store.base import StoredRule

# (table, name); a table itself has an empty name
RuleKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SkippedRule:
    """A stored rule, or table of rules, that cannot be served at present; it stays in the store."""

    record: StoredRule
    message: str


@dataclass(frozen=True, slots=True)
class RuleChange:
    """The record of a rule, or of a table, before and after a change."""

    key: RuleKey
    before: StoredRule | None
    after: StoredRule | None


@dataclass(slots=True)
class RuleState:
    """Records by key, those that are served and those that are not, and rules by table."""

    records: dict[RuleKey, StoredRule] = field(default_factory=dict)
    skipped: dict[RuleKey, SkippedRule] = field(default_factory=dict)
    tables: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, objects: Objects) -> None:
        """Note the tables and rules among objects that join the plan."""
        for table in objects.rule_tables:
            self.tables.setdefault(table.name, {})
        for rule in objects.rules:
            table_name, _, name = rule.id.partition("/")
            self.tables[table_name][name] = None

    def remove(self, removals: Removals) -> None:
        """Forget the tables and rules among objects that leave the plan."""
        for ident in removals.rules:
            table, _, name = ident.partition("/")
            self.tables[table].pop(name, None)
        for table in removals.rule_tables:
            self.tables.pop(table, None)

    def keep(self, change: RuleChange) -> None:
        """Keep the record that a change leaves."""
        self.skipped.pop(change.key, None)
        if change.after is None:
            self.records.pop(change.key, None)
        else:
            self.records[change.key] = change.after

    def record(self, key: RuleKey) -> StoredRule | None:
        """Find what the store has under a key, served or not."""
        skipped = self.skipped.get(key)
        return self.records.get(key) if skipped is None else skipped.record


def reference_changes(index: PlanIndex, put: Objects, remove: Removals) -> Counter[tuple[str, str]]:
    """Count by how many rules a step stands more, or fewer, on each object of the plan."""
    changes: Counter[tuple[str, str]] = Counter()
    for rule in put.rules:
        changes.update(rule_references(rule))
    for table in put.rule_tables:
        changes.update(rule_references(table))
    for ident in (*remove.rules, *(rule.id for rule in put.rules)):
        if (old := index.rules.get(ident)) is not None:
            changes.subtract(rule_references(old))
    for name in (*remove.rule_tables, *(table.name for table in put.rule_tables)):
        if (known := index.rule_tables.get(name)) is not None:
            changes.subtract(rule_references(known))
    return changes


def rule_references(item: Rule | RuleTable) -> tuple[tuple[str, str], ...]:
    """Name the upstream that a rule, or the default of a table, passes to, as (kind, id)."""
    action = item.action if isinstance(item, Rule) else item.default
    return (("upstreams", action.upstream),) if isinstance(action, PassTo) else ()
