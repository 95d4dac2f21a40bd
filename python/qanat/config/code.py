"""Blocks of Python in a configuration: cut out before nginx's grammar is applied, which would not
understand them.

A block ends at the brace that matches its first one; braces in Python's strings and comments do
not count.
"""

from __future__ import annotations

import re

from qanat.config.tables.handlers import BLOCK_SUFFIX

MARK = "\x01python "
"""What stands in place of a block: this and its number, as one quoted word."""

# What nginx's grammar would not look into (comments and quoted words), and what begins a block.
_OUTSIDE = re.compile(
    r"""(?<![^\s;{}])(?:\#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(\w+"""
    + BLOCK_SUFFIX
    + r""")\s*\{)""",
    re.DOTALL,
)
# What Python would not look into, and braces.
_INSIDE = re.compile(
    r"""\#[^\n]*|\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}"""
    r"""|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[{}]""",
    re.DOTALL,
)


def cut(text: str) -> tuple[str, list[str]]:
    """Replace each block by a mark of as many lines; return the text and the blocks."""
    pieces: list[str] = []
    blocks: list[str] = []
    done = 0
    position = 0
    while (found := _OUTSIDE.search(text, position)) is not None:
        position = found.end()
        if found[1] is None:
            continue
        end = _end(text, position)
        if end is None:
            break
        # Lines are counted as they were: those before the brace, then those of the code.
        head = text[found.start(1) : position - 1]
        pieces += [text[done : found.start(1)], f'{head} "{MARK}{len(blocks)}";']
        pieces.append("\n" * text.count("\n", position, end))
        blocks.append(text[position : end - 1])
        done = position = end
    pieces.append(text[done:])
    return "".join(pieces), blocks


def _end(text: str, position: int) -> int | None:
    """Find the place after the brace that closes a block whose code begins at `position`."""
    depth = 1
    for found in _INSIDE.finditer(text, position):
        if found[0] == "{":
            depth += 1
        elif found[0] == "}":
            depth -= 1
            if depth == 0:
                return found.end()
    return None
