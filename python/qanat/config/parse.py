"""From files, `-g` text or a request's text to a checked tree; the only part that reads files."""

from __future__ import annotations

import errno
import glob
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qanat.config.check import check, check_modules
from qanat.config.collection import no_collection
from qanat.config.errors import ConfigError, Problem
from qanat.config.grammar import names_anywhere, read
from qanat.config.tables import BY_CONTEXT, UNCHECKED
from qanat.config.tree import Directive, SourceFile, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qanat.config.paths import Paths

COMMAND_LINE = "command line"
LARGEST_FILE = 64 * 1024 * 1024
DEEPEST_INCLUDE = 64  # far more than anyone has, far from the limit of recursion


def parse_file(paths: Paths, global_directives: str = "") -> Tree:
    """Parse the text of `-g`, then the main file with its includes. Raise `ConfigError`."""
    loader = _Loader(paths.conf.parent)
    with no_collection():
        given, problems = _read_command_line(global_directives)
        loader.problems += problems
        directives = given + loader.load(str(paths.conf), None)
        directives = loader.expand(directives, "main", lenient=False)
        loader.problems += check(directives, "main")
        loader.problems += check_modules(directives)
    files = tuple(loader.files)
    errors = [problem for problem in loader.problems if problem.level == "emerg"]
    if errors:
        rank = {file.path: number for number, file in enumerate(files)}
        raise ConfigError(
            sorted(errors, key=lambda problem: (rank.get(problem.file, -1), problem.line))
        )
    return Tree(directives, files, tuple(loader.problems))


def parse_text(
    text: str, source: str, context: str, include_base: Path | None = None
) -> tuple[Directive, ...]:
    """Parse the directives of a block of that context, as the API sends them. Raise `ConfigError`.

    The context `server` is the body of a dynamic virtual server, with NJet's additional rules.
    Files are included only if `include_base`, the directory they are relative to, is given.
    """
    is_dynamic = context == "server"
    if is_dynamic and text.strip() and text.rstrip()[-1] not in ";}":
        text = text.rstrip() + ";"
    directives, problems = read(text, source)
    if is_dynamic and "listen" in names_anywhere(directives):
        # Also when smuggled in by `} server {`; NJet names no place.
        raise ConfigError([Problem("listen cmd in the server body of dynamic stream vs")])
    if include_base is not None:
        loader = _Loader(include_base)
        directives = loader.expand(directives, context, lenient=False)
        problems += loader.problems
    else:
        problems += [
            Problem('"include" directive is not allowed here', source, directive.line)
            for directive in directives
            if directive.name == "include"
        ]
    if context != UNCHECKED:
        problems += check(directives, context, dynamic=is_dynamic)
    if problems:
        raise ConfigError(
            sorted(problems, key=lambda problem: (problem.file != source, problem.line))
        )
    return directives


class _Loader:
    """Reads files and puts includes in place, keeping what it read and what went wrong."""

    def __init__(self, base: Path) -> None:
        self.files: list[SourceFile] = []
        self.problems: list[Problem] = []
        self._base = base
        self._texts: dict[str, str] = {}
        self._opening: list[str] = []
        self._has_include = False

    def load(self, path: str, place: Problem | None) -> tuple[Directive, ...]:
        """Read a file; `place` is the include to blame, or `None` for the main file."""
        text = self._texts.get(path)
        if text is None:
            try:
                text = _read(path)
            except OSError as error:
                call = "read" if error.errno in {errno.EISDIR, errno.EFBIG} else "open"
                message = f'{call}() "{path}" failed ({error.errno}: {error.strerror})'
                self.problems.append(replace(place or Problem(""), message=message))
                return ()
            self._texts[path] = text
            self.files.append(SourceFile(path, text))
        self._has_include = self._has_include or "include" in text
        directives, problems = read(text, path)
        self.problems += problems
        return directives

    def expand(
        self, directives: tuple[Directive, ...], context: str, *, lenient: bool
    ) -> tuple[Directive, ...]:
        """Put included text in place; `lenient` makes a missing file a warning."""
        if not self._has_include and "include" not in names_anywhere(directives):
            return directives
        expanded: list[Directive] = []
        for directive in directives:
            if directive.name == "include" and len(directive.args) == 1 and directive.block is None:
                expanded += self._include(directive, context, lenient=lenient)
            elif directive.block:
                inner = _context_inside(directive, context)
                block = self.expand(
                    directive.block, inner, lenient=lenient or directive.name == "http"
                )
                same = block is directive.block
                expanded.append(directive if same else replace(directive, block=block))
            else:
                expanded.append(directive)
        return tuple(expanded)

    def _include(self, directive: Directive, context: str, *, lenient: bool) -> Iterator[Directive]:
        pattern = str(self._base / directive.args[0])
        place = Problem("", directive.file, directive.line, "warn" if lenient else "emerg")
        paths = [pattern]
        if any(character in "*?[" for character in directive.args[0]):
            paths = sorted(glob.glob(pattern))  # noqa: PTH207 - an absolute pattern
        for path in paths:
            if path in self._opening or path == directive.file:
                self.problems.append(
                    replace(place, message=f'"{path}" includes itself', level="emerg")
                )
                continue
            if len(self._opening) == DEEPEST_INCLUDE:
                self.problems.append(
                    replace(place, message="files include one another too deeply", level="emerg")
                )
                return
            self._opening.append(path)
            yield from self.expand(self.load(path, place), context, lenient=lenient)
            self._opening.pop()


def _read(path: str) -> str:
    """Read a file, but no more of it than a configuration can be. Raise `OSError`."""
    with Path(path).open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    text = content.decode("utf-8-sig", "surrogateescape")
    # Lines may end as on other systems.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _context_inside(directive: Directive, context: str) -> str:
    row = BY_CONTEXT.get(context, {}).get(directive.name)
    return (row.block if row else None) or UNCHECKED


def _read_command_line(text: str) -> tuple[tuple[Directive, ...], list[Problem]]:
    """Read the text of `-g`, which has no lines and an end of its own."""
    directives, problems = read(text, COMMAND_LINE)
    end = 'unexpected end of file, expecting ";" or "}"'
    parameter = 'unexpected end of parameter, expecting ";"'
    return (
        tuple(replace(directive, line=0) for directive in directives),
        [
            replace(
                problem, line=0, message=parameter if problem.message == end else problem.message
            )
            for problem in problems
        ],
    )
