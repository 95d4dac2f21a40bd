"""`server_name`: exact names, wildcards, regular expressions, and names that clash on one
address."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.record import ServerName
from qanat.compiler.variables import define_captures, hostname_kinds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qanat.config.tree import Directive

Kind = Literal["exact", "leading", "trailing", "regex"]

_LONGEST_NAME = 255


@dataclass(slots=True)
class Names:
    """The names of one server, as written and by kind."""

    written: list[tuple[str, Directive]] = field(default_factory=list)
    kinds: list[ServerName] = field(default_factory=list)

    @property
    def first(self) -> str:
        """The name that `$server_name` gives."""
        return self.written[0][0] if self.written else ""


def read_server_name(compilation: Compilation, directive: Directive, names: Names) -> None:
    """Add the names of a `server_name` directive to those of its server."""
    for text in directive.args:
        name = add_name(compilation, directive, text, names)
        names.written.append((name, directive))


def add_name(compilation: Compilation, directive: Directive, text: str, names: Names) -> str:
    """Add one name by kind and return it as `$server_name` shows it."""
    if text.startswith("~"):
        if len(text) == 1:
            raise Refused(f'empty regex in server name "{text}"')
        define_captures(compilation, text[1:])
        names.kinds.append(ServerName(kind="regex", text=text[1:]))
        return text
    if (text.startswith("*") and (len(text) < 3 or text[1] != ".")) or text == ".":
        raise Refused(f'server name "{text}" is invalid')
    if "/" in text:
        compilation.warn(directive, f'server name "{text}" has suspicious symbols')
    name = compilation.world.hostname if text == "$hostname" else text
    if not name:
        return ""
    kinds = hostname_kinds(name.lower())
    if kinds is None or len(name.encode()) > _LONGEST_NAME:
        raise Refused(f'invalid server name or wildcard "{text}"')
    for kind, bare in kinds:
        names.kinds.append(_NAME_OF_KIND[kind](bare))
    return name


_NAME_OF_KIND = {
    "exact": lambda text: ServerName(kind="exact", text=text),
    "leading": lambda text: ServerName(kind="leading", text=text),
    "trailing": lambda text: ServerName(kind="trailing", text=text),
}


class NamesOfListeners:
    """Which names are taken on which listener; the first server that has a name keeps it."""

    def __init__(self) -> None:
        self._taken: dict[str, set[tuple[str, str]]] = {}

    def claim(
        self,
        compilation: Compilation,
        directive: Directive,
        names: Names,
        listeners: Sequence[str],
    ) -> None:
        """Take the names of a server on its listeners; warn about each that another has already."""
        wanted = [(name.kind, name.text) for name in names.kinds if name.kind != "regex"]
        if not names.kinds:
            wanted.append(("exact", ""))
        place = names.written[0][1] if names.written else directive
        for listener in listeners:
            taken = self._taken.setdefault(listener, set())
            for key in wanted:
                if key in taken:
                    shown = _WILDCARD[key[0]].format(key[1])
                    address = listener.partition(":")[2]
                    message = f'conflicting server name "{shown}" on {address}, ignored'
                    compilation.warn(place, message)
            taken.update(wanted)


_WILDCARD = {"exact": "{}", "leading": "*.{}", "trailing": "{}.*"}
