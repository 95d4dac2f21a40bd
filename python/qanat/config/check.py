"""Checks directives by the tables: name, context, terminator, arity, on or off, duplicates."""

from __future__ import annotations

from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING

from qanat.config.errors import Problem
from qanat.config.tables import BY_CONTEXT, NAMES, UNCHECKED
from qanat.config.tables.njet import MODULES, NO_DYNAMIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qanat.config.tables import Row
    from qanat.config.tree import Directive


def check(
    directives: Sequence[Directive], context: str, *, dynamic: bool = False
) -> Iterator[Problem]:
    """Find the problems of a block and of the blocks in it; `dynamic` adds NJet's refusals."""
    rows = BY_CONTEXT[context]
    seen: set[str] = set()
    for directive in directives:
        row = rows.get(directive.name)
        message = _wrong_by_name(directive, row, context, dynamic=dynamic)
        if message is None and row is not None:
            message = _wrong_by_shape(directive, row)
            if message is None and not row.repeats:
                if row.name in seen:
                    message = f'"{row.name}" directive is duplicate'
                seen.add(row.name)
        if message is not None:
            yield Problem(
                message,
                directive.file,
                directive.line,
                hint=_hint(directive, context, message),
            )
        elif row is not None and row.block not in {None, UNCHECKED} and directive.block is not None:
            yield from check(directive.block, row.block or context)


def check_modules(directives: Sequence[Directive]) -> Iterator[Problem]:
    """Warn of modules that nothing here stands for."""
    for directive in directives:
        if directive.name != "load_module" or len(directive.args) != 1:
            continue
        module = PurePath(directive.args[0]).name
        if module not in MODULES and not module.startswith("ngx_stream_"):
            message = f'module "{module}" is not known and is ignored'
            yield Problem(message, directive.file, directive.line, "warn")


def _wrong_by_name(
    directive: Directive, row: Row | None, context: str, *, dynamic: bool
) -> str | None:
    name = directive.name
    if dynamic and name == "server_name":
        return "dynamic server only support one name!"
    if dynamic and name in NO_DYNAMIC:
        return f'"{name}" directive no support of dynamic!'
    if row is None:
        if name in NAMES or name in _nginx_names():
            return f'"{name}" directive is not allowed here'
        return f'unknown directive "{name}"'
    if row.planned:
        return f'directive "{name}" is not supported by this version of qanat'
    return None


def _wrong_by_shape(directive: Directive, row: Row) -> str | None:
    if row.block is None:
        if directive.block is not None:
            return f'directive "{row.name}" is not terminated by ";"'
    elif directive.block is None:
        return f'directive "{row.name}" has no opening "{{"'
    if not row.takes(len(directive.args)):
        return f'invalid number of arguments in "{row.name}" directive'
    if row.flag and directive.args[0].lower() not in {"on", "off"}:
        value = directive.args[0]
        return f'invalid value "{value}" in "{row.name}" directive, it must be "on" or "off"'
    return None


@lru_cache(maxsize=1)
def _nginx_names() -> frozenset[str]:
    # It tells a misplaced directive from a typo; it is large, so only loaded if something is wrong.
    from crossplane.analyzer import DIRECTIVES  # noqa: PLC0415 - see above

    return frozenset(DIRECTIVES)


def _hint(directive: Directive, context: str, message: str) -> str:
    if message.startswith("unknown directive"):
        near = _nearest(directive.name, context)
        return f'did you mean "{near}"?' if near else ""
    if message.startswith("invalid number of arguments"):
        swallowed = next((word for word in directive.args if word in BY_CONTEXT[context]), None)
        return f'is ";" missing before "{swallowed}"?' if swallowed else ""
    return ""


@lru_cache(maxsize=1024)
def _nearest(name: str, context: str) -> str:
    here = BY_CONTEXT[context].keys()
    near = get_close_matches(name, NAMES, n=3, cutoff=0.7)
    # A name that can stand here wins over one that is a little nearer.
    return max(near, key=lambda known: _likeness(name, known) + 0.05 * (known in here), default="")


def _likeness(left: str, right: str) -> float:
    return SequenceMatcher(None, left, right).ratio()
