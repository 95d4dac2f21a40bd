"""Adding and removing rules, as steps computed from the state.

Tables and rules of the configuration file stay as the file has them: the API adds rules to the
file's tables, and tables of its own beside them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from qanat.compiler.compilation import Compilation, Resolve, resolve_host
from qanat.compiler.plan import Objects, Removals
from qanat.compiler.rule_plan import Rule, RuleTable
from qanat.compiler.rules import (
    ActionSpec,
    Place,
    RuleRefused,
    RuleSpec,
    compile_action,
    compile_rule,
    name_fault,
)
from qanat.compiler.virtual_server import compilation_of
from qanat.config.tree import Directive
from qanat.control.errors import (
    InvalidRequest,
    RuleIsStatic,
    RuleNotFound,
    TableInUse,
    TableNotFound,
)
from qanat.control.rule_state import RuleChange, RuleKey, reference_changes
from qanat.control.scope import scope_of
from qanat.control.state import State, Step
from qanat.store.base import StoredRule, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    T = TypeVar("T")

ORIGIN = Directive("rule", (), "API", 0)
"""Where rules of the API stand."""

# Behind all rules of the file of the same priority, then in order of their names.
_POSITION = 2**32 - 1
_REJECT = ActionSpec(reject=403)


class TableSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table: its rules by name, and what happens to sessions that none of them matches."""

    default: Annotated[
        ActionSpec | None,
        msgspec.Meta(
            description="403 if absent; a table of the configuration file has its own there."
        ),
    ] = None
    rules: Annotated[
        dict[str, RuleSpec],
        msgspec.Meta(description="All rules that the API has in the table; others are removed."),
    ] = {}


class _TableDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table as the store keeps it."""

    default: ActionSpec


def putting_rule(
    state: State, table: str, name: str, spec: RuleSpec, resolve: Resolve = resolve_host
) -> Step:
    """Compute the step that adds or replaces a rule of the API. Raise a `ChangeRefused`."""
    _check_table(state, table)
    change = _Change(state, resolve)
    change.put_rule((table, name), spec)
    return change.step(f'rule "{name}" of "{table}" put')


def removing_rule(state: State, table: str, name: str, _: Resolve = resolve_host) -> Step:
    """Compute the step that removes a rule of the API. Raise a `ChangeRefused`."""
    if f"{table}/{name}" in state.base.rules:
        raise RuleIsStatic(f'rule "{name}" of "{table}" stands in the configuration file')
    if not name or state.rules.record((table, name)) is None:
        raise RuleNotFound(table, name)
    change = _Change(state, resolve_host)
    change.remove((table, name))
    return change.step(f'rule "{name}" of "{table}" removed')


def putting_table(
    state: State, table: str, spec: TableSpec, resolve: Resolve = resolve_host
) -> Step:
    """Compute the step that makes the rules of the API in a table those of `spec`.

    Raise a `ChangeRefused`.
    """
    change = _Change(state, resolve)
    if table not in state.base.rule_tables:
        change.put_table(table, spec.default or _REJECT)
    elif spec.default is not None:
        raise RuleIsStatic(f'the default of "{table}" stands in the configuration file')
    for name, rule in spec.rules.items():
        change.put_rule((table, name), rule, f"rules.{name}.")
    for name in _names_of(state, table):
        if name not in spec.rules:
            change.remove((table, name))
    return change.step(f'rules "{table}" put')


def removing_table(state: State, table: str, _: Resolve = resolve_host) -> Step:
    """Compute the step that removes a table of the API with its rules. Raise a `ChangeRefused`."""
    if table in state.base.rule_tables:
        raise RuleIsStatic(
            f'rules "{table}" stand in the configuration file; '
            "put a table without rules to remove those of the API"
        )
    if state.rules.record((table, "")) is None:
        raise TableNotFound(table)
    if state.references["rule_tables", table]:
        raise TableInUse(table)
    change = _Change(state, resolve_host)
    for name in (*_names_of(state, table), ""):
        change.remove((table, name))
    return change.step(f'rules "{table}" removed')


def bringing_back_rule(state: State, record: StoredRule, resolve: Resolve = resolve_host) -> Step:
    """Compute the step that adds a stored rule or table again. Raise a `ChangeRefused` or
    `StoreError`."""
    change = _Change(state, resolve, record.revision)
    if record.name:
        if record.table not in state.index.rule_tables:
            raise TableNotFound(record.table)
        change.put_rule((record.table, record.name), _read(record, RuleSpec))
    elif record.table in state.base.rule_tables:
        raise RuleIsStatic(f'rules "{record.table}" stand in the configuration file now')
    else:
        change.put_table(record.table, _read(record, _TableDocument).default)
    return change.step("")


def read_rule(record: StoredRule) -> RuleSpec:
    """Read the document of a rule. Raise `StoreError` if it is damaged."""
    return _read(record, RuleSpec)


class _Change:
    """Collects what a step does."""

    def __init__(self, state: State, resolve: Resolve, revision: int | None = None) -> None:
        self._state = state
        self._revision = state.revision + 1 if revision is None else revision
        self._compilation: Compilation = compilation_of(scope_of(state, resolve))
        self._rules: list[Rule] = []
        self._tables: list[RuleTable] = []
        self._removed: list[RuleKey] = []
        self._changes: list[RuleChange] = []

    def put_rule(self, key: RuleKey, spec: RuleSpec, prefix: str = "") -> None:
        table, name = key
        if f"{table}/{name}" in self._state.base.rules:
            raise RuleIsStatic(f'rule "{name}" of "{table}" stands in the configuration file')
        if not self._note(key, msgspec.json.encode(spec)):
            return
        try:
            place = Place(table, name, _POSITION, ORIGIN)
            self._rules.append(compile_rule(self._compilation, place, spec))
        except RuleRefused as refused:
            raise InvalidRequest(prefix + refused.faults[0].field, str(refused)) from None

    def put_table(self, table: str, default: ActionSpec) -> None:
        fault = name_fault("rules", table)
        if fault is not None:
            raise InvalidRequest("table", fault)
        if not self._note((table, ""), msgspec.json.encode(_TableDocument(default))):
            return
        try:
            action = compile_action(self._compilation, ORIGIN, default)
        except RuleRefused as refused:
            field = f"default.{refused.faults[0].field}"
            raise InvalidRequest(field, str(refused)) from None
        self._tables.append(RuleTable(name=table, default=action, origin=ORIGIN.origin))

    def remove(self, key: RuleKey) -> None:
        self._changes.append(RuleChange(key, self._state.rules.record(key), None))
        if key in self._state.rules.records:
            self._removed.append(key)

    def step(self, summary: str) -> Step:
        state = self._state
        put = Objects(
            rule_tables=tuple(self._tables),
            rules=tuple(self._rules),
            upstreams=tuple(
                upstream
                for upstream in self._compilation.upstreams.values()
                if upstream.name not in state.index.upstreams
            ),
        )
        remove = Removals(
            rule_tables=tuple(table for table, name in self._removed if not name),
            rules=tuple(f"{table}/{name}" for table, name in self._removed if name),
        )
        changed = reference_changes(state.index, put, remove)
        unused = tuple(
            ident
            for (kind, ident), count in changed.items()
            if count < 0
            and state.references[kind, ident] + count == 0
            and not state.is_static(kind, ident)
        )
        remove = msgspec.structs.replace(remove, upstreams=unused)
        return Step(put=put, remove=remove, rules=tuple(self._changes), summary=summary)

    def _note(self, key: RuleKey, document: bytes) -> bool:
        """Note a record to be written; tell whether it differs from what is served."""
        known = self._state.rules.records.get(key)
        if known is not None and known.document == document:
            return False
        after = StoredRule(*key, document, self._revision)
        self._changes.append(RuleChange(key, self._state.rules.record(key), after))
        return True


def _check_table(state: State, table: str) -> None:
    if table not in state.index.rule_tables:
        raise TableNotFound(table)


def _names_of(state: State, table: str) -> list[str]:
    """List the rules that the store has of a table, served or not."""
    keys: Mapping[RuleKey, None] = dict.fromkeys(
        (*((table, name) for name in state.rules.tables.get(table, ())), *state.rules.skipped)
    )
    return [
        name
        for of, name in keys
        if of == table and name and state.rules.record((table, name)) is not None
    ]


def _read(record: StoredRule, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(record.document, type=kind)
    except msgspec.DecodeError as error:
        name = f"{record.table}/{record.name}"
        raise StoreError(f'the stored rule "{name}" is damaged: {error}') from error
