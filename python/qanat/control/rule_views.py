"""What the gateway shows of its rules, as typed records for the API and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from qanat.compiler.rule_plan import (
    PassTo,
    Rule,
    RuleAction,
    RuleQuery,
    RuleTable,
    RuleVerdict,
)
from qanat.compiler.rules import ActionSpec
from qanat.control.rules import read_rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qanat.compiler.rules import RuleSpec
    from qanat.control.engine import Engine
    from qanat.control.state import State

_Counts = dict[str, dict[str, int]]


class RuleView(msgspec.Struct, frozen=True, kw_only=True):
    """A rule. Empty conditions always hold; `decided` counts the sessions that it decided."""

    table: str
    name: str
    priority: int
    source: tuple[str, ...]
    port: tuple[int | str, ...]
    sni: tuple[str, ...]
    alpn: tuple[str, ...]
    starts_with: tuple[str, ...]
    tls: bool | None
    pass_: str | None = msgspec.field(name="pass")
    reject: int | None
    note: str
    dynamic: bool
    decided: int
    origin: str


class RuleTableView(msgspec.Struct, frozen=True):
    """A table with its rules, in the order in which they are asked; `unmatched` counts the
    sessions that none matched."""

    name: str
    default: ActionSpec
    dynamic: bool
    unmatched: int
    rules: tuple[RuleView, ...]
    origin: str


class RuleTablesView(msgspec.Struct, frozen=True):
    """All tables at one revision."""

    revision: int
    tables: tuple[RuleTableView, ...]


class PassedOver(msgspec.Struct, frozen=True):
    """A rule that was asked before the one that decides, and the condition that did not hold."""

    rule: str
    denied_by: str


class VerdictView(msgspec.Struct, frozen=True):
    """Which rule decides a session that might come; without one, `action` is the default.

    `waits`: such a session is kept waiting for more bytes than those asked about.
    `passed_over` has the first hundred rules that were asked before.
    """

    rule: str | None
    action: ActionSpec
    waits: bool
    passed_over: tuple[PassedOver, ...]


def table_views(state: State, engine: Engine) -> RuleTablesView:
    """Show all tables, those of the file first."""
    counts = _counts(engine)
    tables = tuple(_table(state, table, counts) for table in state.index.rule_tables.values())
    return RuleTablesView(state.revision, tables)


def table_view(state: State, engine: Engine, name: str) -> RuleTableView | None:
    """Show one table; None if there is none of this name."""
    table = state.index.rule_tables.get(name)
    return None if table is None else _table(state, table, _counts(engine))


def rule_view(state: State, engine: Engine, table: str, name: str) -> RuleView | None:
    """Show one rule; None if the table has none of this name."""
    rule = state.index.rules.get(f"{table}/{name}")
    return None if rule is None else _rule(state, rule, _counts(engine).get(table, {}))


def verdict_view(engine: Engine, query: RuleQuery) -> VerdictView | None:
    """Show which rule would decide a session; None if there is no such table."""
    answer = engine.explain_rules(msgspec.msgpack.encode(query))
    if answer is None:
        return None
    verdict = msgspec.msgpack.decode(answer, type=RuleVerdict)
    return VerdictView(
        verdict.rule,
        _action(verdict.action),
        verdict.waits,
        tuple(PassedOver(*passed) for passed in verdict.passed_over),
    )


def _table(state: State, table: RuleTable, counts: _Counts) -> RuleTableView:
    of_table = counts.get(table.name, {})
    rules = [state.index.rules[f"{table.name}/{name}"] for name in state.rules.tables[table.name]]
    rules.sort(key=lambda rule: (rule.priority, rule.position, rule.id))
    return RuleTableView(
        name=table.name,
        default=_action(table.default),
        dynamic=not state.is_static("rule_tables", table.name),
        unmatched=of_table.get("", 0),
        rules=tuple(_rule(state, rule, of_table) for rule in rules),
        origin=table.origin,
    )


def _rule(state: State, rule: Rule, counts: Mapping[str, int]) -> RuleView:
    table, _, name = rule.id.partition("/")
    spec = _spec(state, table, name)
    return RuleView(
        table=table,
        name=name,
        priority=spec.priority,
        source=spec.source,
        port=spec.port,
        sni=spec.sni,
        alpn=spec.alpn,
        starts_with=spec.starts_with,
        tls=spec.tls,
        pass_=spec.pass_,
        reject=spec.reject,
        note=spec.note,
        dynamic=not state.is_static("rules", rule.id),
        decided=counts.get(name, 0),
        origin=rule.origin,
    )


def _spec(state: State, table: str, name: str) -> RuleSpec:
    """Find a rule as it was written."""
    record = state.rules.records.get((table, name))
    return state.compiled.rules[table][name] if record is None else read_rule(record)


def _action(action: RuleAction) -> ActionSpec:
    if isinstance(action, PassTo):
        return ActionSpec(pass_=action.upstream)
    return ActionSpec(reject=action.status)


def _counts(engine: Engine) -> _Counts:
    """Read how many sessions each rule decided."""
    return msgspec.msgpack.decode(engine.snapshot("rules"), type=_Counts)
