"""Templates (`$name`, `${name}`, `$1`), the check that every variable used is defined, `map` and
`set`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from qanat.compiler import plan
from qanat.compiler.builtin import DEFINABLE, FRAME, is_builtin
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.frame import unknown_variable

if TYPE_CHECKING:
    from qanat.config.tree import Directive

_REFERENCE = re.compile(r"\$(?:([1-9])|\{([A-Za-z0-9_]*)(\}?)|([A-Za-z0-9_]+))?", re.ASCII)
_NAMED_GROUP = re.compile(r"\(\?P?(?:<([A-Za-z_]\w*)>|'([A-Za-z_]\w*)')", re.ASCII)


@lru_cache(maxsize=4096)
def parse_template(text: str) -> plan.Template:
    """Split text into literal and variable parts; raise `Refused` for a malformed reference."""
    if "$" not in text:
        return ((False, text),) if text else ()
    parts: list[plan.Part] = []
    literal = ""
    end = 0
    for match in _REFERENCE.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        name = match[1] or match[2] or match[4]
        if match[2] is not None and not match[3]:
            raise Refused(f'the closing bracket in "{match[2]}" variable is missing')
        if not name:
            raise Refused("invalid variable name")
        if literal:
            parts.append((False, literal))
            literal = ""
        parts.append((True, name.lower()))
    literal += text[end:]
    if literal:
        parts.append((False, literal))
    return tuple(parts)


def template(compilation: Compilation, directive: Directive, text: str) -> plan.Template:
    """Parse a template and note the variables that it uses."""
    parts = parse_template(text)
    for is_variable, name in parts:
        if not is_variable or name.isdigit():
            continue
        if name.startswith(FRAME) or not is_builtin(name):
            compilation.used.setdefault(name, []).append(directive)
    return parts


def has_variables(parts: plan.Template) -> bool:
    """Tell whether a template depends on the session."""
    return any(is_variable for is_variable, _ in parts)


def check_used(compilation: Compilation) -> None:
    """Refuse every use of a variable that nothing defines."""
    for name, users in compilation.used.items():
        if name in compilation.defined or name in compilation.known.variables:
            continue
        message = (
            f'no defined variable name "${name}"'
            if compilation.dynamic
            else f'unknown "{name}" variable'
        )
        if name.startswith(FRAME):
            reason = unknown_variable(compilation, name.removeprefix(FRAME))
            if reason is None:
                continue
            message += f": {reason}"
        for directive in dict.fromkeys(users):
            compilation.refuse(directive, message)


def define_captures(compilation: Compilation, pattern: str) -> None:
    """Define the variables that the named groups of a regular expression set."""
    for match in _NAMED_GROUP.finditer(pattern):
        compilation.defined.add((match[1] or match[2]).lower())


def variable_name(text: str) -> str:
    """Read `$name` as the argument that names a variable to define."""
    if len(text) < 2 or text[0] != "$":
        raise Refused(f'invalid variable name "{text}"')
    return text[1:].lower()


def define(compilation: Compilation, text: str) -> str:
    """Define a variable by its `$name` argument and return the name."""
    name = variable_name(text)
    if is_builtin(name) and name not in DEFINABLE:
        raise Refused(f'the duplicate "{name}" variable')
    compilation.defined.add(name)
    return name


def read_set(compilation: Compilation, directive: Directive) -> plan.SetVariable:
    """Read `set $name value`."""
    text, value = directive.args
    name = variable_name(text)
    if not compilation.dynamic:
        define(compilation, text)
    elif name not in compilation.known.variables and name not in DEFINABLE:
        # The spelling is NJet's; clients compare it.
        raise Refused(f'not suport user-defined "{text}" variable')
    return plan.SetVariable(name=name, value=template(compilation, directive, value))


def read_map(compilation: Compilation, directive: Directive) -> None:
    """Read `map SOURCE $name { … }` into a variable."""
    source, name_text = directive.args
    name = define(compilation, name_text)
    table = _MapTable(
        compilation, any(entry.name == "hostnames" for entry in directive.block or ())
    )
    volatile = False
    for entry in directive.block or ():
        if not entry.args and entry.name == "volatile":
            volatile = True
        elif entry.args or entry.name != "hostnames":
            try:
                table.add(entry)
            except Refused as refused:
                compilation.note(entry, refused)
    compilation.variables[name] = plan.Variable(
        name=name,
        volatile=volatile,
        kind=plan.Map(
            source=template(compilation, directive, source),
            default=table.default or (),
            hostnames=table.hostnames,
            exact=_entries(table.exact),
            leading=_entries(table.leading),
            trailing=_entries(table.trailing),
            patterns=tuple(table.patterns),
        ),
        origin=directive.origin,
    )


def _entries(table: dict[str, plan.Template]) -> tuple[plan.MapEntry, ...]:
    return tuple(plan.MapEntry(key=key, value=value) for key, value in table.items())


class _MapTable:
    """The entries of one map, by kind."""

    def __init__(self, compilation: Compilation, hostnames: bool) -> None:
        self.compilation = compilation
        self.hostnames = hostnames
        self.default: plan.Template | None = None
        self.exact: dict[str, plan.Template] = {}
        self.leading: dict[str, plan.Template] = {}
        self.trailing: dict[str, plan.Template] = {}
        self.patterns: list[plan.MapPattern] = []

    def add(self, entry: Directive) -> None:
        if len(entry.args) != 1 or entry.block is not None:
            raise Refused("invalid number of the map parameters")
        key = entry.name
        value = template(self.compilation, entry, entry.args[0])
        if key == "default":
            if self.default is not None:
                raise Refused("duplicate default map parameter")
            self.default = value
        elif key.startswith("~"):
            self._add_pattern(entry, key, value)
        else:
            self._add_text(key.removeprefix("\\").lower(), value)

    def _add_pattern(self, entry: Directive, key: str, value: plan.Template) -> None:
        ignore_case = key.startswith("~*")
        pattern = key[2:] if ignore_case else key[1:]
        if not pattern:
            raise Refused(f'empty regex in the "{key}" map parameter')
        define_captures(self.compilation, pattern)
        self.patterns.append(
            plan.MapPattern(
                pattern=pattern, ignore_case=ignore_case, value=value, origin=entry.origin
            )
        )

    def _add_text(self, key: str, value: plan.Template) -> None:
        if not self.hostnames:
            self._put(self.exact, key, key, value)
            return
        kinds = hostname_kinds(key)
        if kinds is None:
            raise Refused(f'invalid hostname or wildcard "{key}"')
        tables = {"exact": self.exact, "leading": self.leading, "trailing": self.trailing}
        for kind, text in kinds:
            self._put(tables[kind], key, text, value)

    def _put(
        self, table: dict[str, plan.Template], key: str, text: str, value: plan.Template
    ) -> None:
        if text in table:
            raise Refused(f'conflicting parameter "{key}"')
        table[text] = value


def hostname_kinds(name: str) -> tuple[tuple[str, str], ...] | None:
    """Split a host name pattern into (kind, text without wildcard); None if nginx's hash refuses
    it."""
    if "*" not in name and not name.startswith("."):
        return None if ".." in name else (("exact", name),)
    kinds: tuple[tuple[str, str], ...]
    if name.startswith("*."):
        rest, kinds = name[2:], (("leading", name[2:]),)
    elif name.startswith("."):
        rest, kinds = name[1:], (("exact", name[1:]), ("leading", name[1:]))
    elif name.endswith(".*"):
        rest, kinds = name[:-2], (("trailing", name[:-2]),)
    else:
        return None
    return None if not rest or "*" in rest or ".." in name or rest[0] == "." else kinds
