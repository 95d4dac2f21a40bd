"""The `rules` block: a table of the configuration, its rules in the order in which they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.compiler.access import parse_network
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.rule_plan import Reject, RuleAction, RuleTable
from qanat.compiler.rules import (
    DEFAULT_PRIORITY,
    ActionSpec,
    Place,
    RuleRefused,
    RuleSpec,
    compile_action,
    compile_rule,
    name_fault,
)
from qanat.compiler.units import parse_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qanat.config.tree import Directive

_DEFAULT_STATUS = 403
_LISTS = frozenset({"source", "port", "sni", "alpn", "starts_with"})
_WORDS = "priority= source= port= sni= alpn= starts_with= tls= pass= reject"


def read_rules(compilation: Compilation, directive: Directive) -> None:
    """Read a table and its rules; what cannot be accepted is noted at its place."""
    table = directive.args[0]
    fault = name_fault("rules", table)
    if fault is None and table in compilation.rule_tables:
        fault = f'duplicate rules "{table}"'
    if fault is not None:
        compilation.refuse(directive, fault)
        return
    default: RuleAction = Reject()
    # Known from here on, whatever is wrong inside: its servers are not to be blamed for it.
    compilation.rule_specs[table] = {}
    entries = enumerate(directive.block or ())
    for position, entry in entries:
        try:
            if entry.name == "default":
                default = _read_default(compilation, entry)
            else:
                _read_rule(compilation, table, position, entry)
        except Refused as refused:
            compilation.note(entry, refused)
    compilation.rule_tables[table] = RuleTable(name=table, default=default, origin=directive.origin)


def spec_of_words(words: Iterable[str]) -> RuleSpec:
    """Read a rule from its words, as they stand behind its name. Raise `Refused`."""
    read = _Words(words)
    return RuleSpec(
        priority=read.priority(),
        source=read.items("source"),
        port=read.items("port"),
        sni=read.items("sni"),
        alpn=read.items("alpn"),
        starts_with=read.items("starts_with"),
        tls=read.tls(),
        pass_=read.text("pass"),
        reject=read.status(),
    )


def _read_default(compilation: Compilation, entry: Directive) -> RuleAction:
    words = _Words(entry.args)
    words.refuse_all_but("pass", "reject")
    try:
        return compile_action(compilation, entry, ActionSpec(words.text("pass"), words.status()))
    except RuleRefused as refused:
        raise Refused(str(refused)) from None


def _read_rule(compilation: Compilation, table: str, position: int, entry: Directive) -> None:
    name = entry.args[0]
    specs = compilation.rule_specs[table]
    if name in specs:
        raise Refused(f'duplicate rule "{name}"')
    spec = spec_of_words(entry.args[1:])
    try:
        rule = compile_rule(compilation, Place(table, name, position, entry), spec)
    except RuleRefused as refused:
        for fault in refused.faults:
            compilation.refuse(entry, f'{fault.message} in rule "{name}"')
        return
    for text in spec.source:
        if not parse_network(text)[1]:
            compilation.warn(entry, f"low address bits of {text} are meaningless")
    specs[name] = spec
    compilation.rules[rule.id] = rule


class _Words:
    """The words of a rule, `NAME=VALUE` each."""

    def __init__(self, words: Iterable[str]) -> None:
        self._values: dict[str, list[str]] = {}
        for word in words:
            name, equals, value = word.partition("=")
            if name not in {*_LISTS, "priority", "tls", "pass", "reject"} or (
                not equals and name != "reject"
            ):
                raise Refused(f'invalid parameter "{word}", there are {_WORDS}')
            if not equals:
                value = str(_DEFAULT_STATUS)
            self._values.setdefault(name, []).append(_unquoted(word, value))
        for name, values in self._values.items():
            if name not in _LISTS and len(values) > 1:
                raise Refused(f'parameter "{name}" is duplicate')

    def refuse_all_but(self, *names: str) -> None:
        for name in self._values:
            if name not in names:
                raise Refused(f'"{name}" is not possible here, only {" or ".join(names)}')

    def text(self, name: str) -> str | None:
        values = self._values.get(name)
        return values[0] if values else None

    def items(self, name: str) -> tuple[str, ...]:
        values = self._values.get(name, ())
        return tuple(item for value in values for item in _alternatives(value))

    def tls(self) -> bool | None:
        value = self.text("tls")
        if value not in {None, "on", "off"}:
            raise Refused(f'invalid value "{value}" of "tls", it must be "on" or "off"')
        return None if value is None else value == "on"

    def priority(self) -> int:
        return self._number("priority", DEFAULT_PRIORITY)

    def status(self) -> int | None:
        return self._number("reject", 0) if "reject" in self._values else None

    def _number(self, name: str, default: int) -> int:
        value = self.text(name)
        number = default if value is None else parse_number(value)
        if number is None:
            raise Refused(f'invalid value "{value}" of "{name}", it must be a number')
        return number


def _alternatives(value: str) -> list[str]:
    """Split a value at its commas; an expression takes all that follows, commas too."""
    if value.startswith("~"):
        return [value]
    plain, is_there, expression = value.partition(",~")
    return [*plain.split(","), *(["~" + expression] if is_there else [])]


def _unquoted(word: str, value: str) -> str:
    """Take quotes off that stand around a value alone, which nginx's grammar leaves there."""
    if value[:1] not in {'"', "'"}:
        return value
    if len(value) < 2 or value[-1] != value[0]:
        raise Refused(f'a value with blanks needs its quotes around the whole word: "{word} ..."')
    return value[1:-1]
