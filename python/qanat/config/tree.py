"""The checked configuration as a tree of directives, includes already in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qanat.config.errors import Problem


@dataclass(frozen=True, slots=True)
class Directive:
    """A directive with decoded arguments; `line` is that of its `;` or `{`, as nginx counts."""

    name: str
    args: tuple[str, ...]
    file: str
    line: int
    block: tuple[Directive, ...] | None = None

    @property
    def origin(self) -> str:
        """Name the place as `FILE:LINE`."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was read, with its text as found."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole configuration; `files` are in the order of first opening."""

    directives: tuple[Directive, ...]
    files: tuple[SourceFile, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def find(self, name: str) -> Iterator[Directive]:
        """Walk over the top-level directives of that name."""
        return (directive for directive in self.directives if directive.name == name)
