"""Directives from keywords: `preread_timeout="5s"` is `preread_timeout 5s;`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING

from qanat.config.tree import Directive
from qanat.gateway.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qanat.gateway.place import Place

Word = str | int | float | bool | PathLike[str] | Upstream
Words = Word | tuple[Word, ...]
Value = Words | Sequence[Words] | Mapping[str, Words | Sequence[Words]] | None
"""What a keyword may be: a word; a tuple, for several words; a list, for a directive that repeats;
a dictionary, for a block; or None, for none."""


def directives(given: Mapping[str, Value], place: Place) -> Iterator[Directive]:
    """Make the directives of keywords; `return_` stands for `return`. Raise `TypeError`."""
    for keyword, value in given.items():
        name = keyword.removesuffix("_")
        if isinstance(value, Mapping):
            block = tuple(directives(value, place))
            yield Directive(name, (), place.file, place.line, block)
            continue
        for words in value if isinstance(value, list) else [value]:
            if words is not None:
                several = words if isinstance(words, tuple) else (words,)
                args = tuple(_word(one, keyword) for one in several)
                yield Directive(name, args, place.file, place.line)


def _word(value: object, keyword: str) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Upstream):
        return value.name
    if isinstance(value, str | PathLike):
        return fspath(value)
    kind = type(value).__name__
    raise TypeError(f"{keyword}= wants text, numbers, True or False, or an upstream, not {kind}")
