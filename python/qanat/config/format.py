"""Directives back to text: `dump` as `-T` prints, `format_directives` in nginx's syntax."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qanat.config.tree import Directive, Tree

_PLAIN = re.compile(r"[A-Za-z0-9_.:/*@%+=,~$|^()?!&<>-]+")


def dump(tree: Tree) -> str:
    """Write every file of a tree once, each under its name, as nginx's `-T` does."""
    return "".join(f"# configuration file {file.path}:\n{file.text}\n" for file in tree.files)


def format_directives(directives: Iterable[Directive], depth: int = 0) -> str:
    """Write directives as text that reads back as the same names and arguments."""
    indent = "    " * depth
    lines: list[str] = []
    for directive in directives:
        words = " ".join(quote(word) for word in (directive.name, *directive.args))
        if directive.block is None:
            lines.append(f"{indent}{words};\n")
        else:
            lines.append(
                f"{indent}{words} {{\n{format_directives(directive.block, depth + 1)}{indent}}}\n"
            )
    return "".join(lines)


def quote(word: str) -> str:
    """Write a word so that it reads back as itself."""
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
