"""Text to directives: nginx's syntax alone, knowing no directive's name and opening no file.

The state machine of the lexer is crossplane's. It takes any iterable of characters, and here every
character is a whole run (a word, an escape, blanks up to a newline), which makes it several times
faster and lets a `}` inside a word be part of the word, as in nginx. What crossplane leaves out is
added: escapes, the end of the text inside a quote, text glued to a closing quote, over-long words.
After an error reading goes on, so that all errors are found.
"""

from __future__ import annotations

import re
from operator import length_hint
from typing import TYPE_CHECKING

from crossplane.lexer import _lex_file_object as lex

from qanat.config.code import MARK, cut
from qanat.config.errors import Problem
from qanat.config.tables.handlers import BLOCK_SUFFIX
from qanat.config.tree import Directive

if TYPE_CHECKING:
    from collections.abc import Iterator

# An escape; blanks with at most one newline, at the end (the lexer counts those); a character that
# may mean something alone; a word. `${` does not open a block.
_RUNS = re.compile(r"""\\.|[ \t\r]*\n|[ \t\r]+|[;{}"'#]|(?:\$\{|[^ \t\r\n;{"'\\])+""", re.DOTALL)
_END = (
    "\0;"  # no run can be this one, so it is seen as a token exactly if no quote is open at the end
)
_ESCAPE = re.compile(r"""\\(["'\\trn])""")
_CONTROL = {"t": "\t", "r": "\r", "n": "\n"}
_AFTER_QUOTE = frozenset(" \t\r\n;{)")
LONGEST_WORD = 4095  # nginx reads words into a buffer of 4096 bytes
DEEPEST_BLOCK = 64  # far deeper than any directive stands, far from the limit of recursion


def read(text: str, source: str) -> tuple[tuple[Directive, ...], list[Problem]]:
    """Read a text into directives; `source` is its name in problems."""
    reader = _Reader(source)
    if BLOCK_SUFFIX in text:
        text, reader.code = cut(text)
    runs = _RUNS.findall(text + "\n")
    runs.append(_END)
    runs.append("\n")
    stream = iter(runs)
    for word, line, quoted in lex([stream]):
        if quoted:
            position = len(runs) - length_hint(stream)
            following = runs[position][0]
            if following not in _AFTER_QUOTE:
                reader.refuse(f'unexpected "{following}"', line)
            reader.add(word, line, runs[position - 1])
        elif word == ";":
            reader.finish(line)
        elif word == "{":
            reader.open(line)
        elif word == "}":
            reader.close(line)
        elif word == _END:
            reader.end(line - 1, in_quote=False)
            break
        elif word[0] == "#":
            reader.check_length(word, line)
        else:
            reader.add(word, line)
    else:
        reader.end(text.count("\n") + 1, in_quote=True)
    return tuple(reader.directives), reader.problems


class _Reader:
    """Collects words into directives and directives into blocks."""

    __slots__ = ("_open", "_too_deep", "code", "directives", "problems", "source", "words")

    def __init__(self, source: str) -> None:
        self.source = source
        self.words: list[str] = []
        self.code: list[str] = []
        self.directives: list[Directive] = []
        self.problems: list[Problem] = []
        self._open: list[tuple[list[str], int, list[Directive]]] = []
        self._too_deep = 0

    def refuse(self, message: str, line: int) -> None:
        self.problems.append(Problem(message, self.source, line))

    def check_length(self, token: str, line: int, quote: str = "") -> None:
        # PEM text in a `data:` value may be of any length.
        if len(token) <= LONGEST_WORD or token.startswith("data:"):
            return
        if quote:
            missing = f'missing terminating "{quote}" character'
            self.refuse(f"too long parameter, probably {missing}", line)
        else:
            self.refuse(f'too long parameter "{token[:10]}..." started', line)

    def add(self, token: str, line: int, quote: str = "") -> None:
        if len(token) > LONGEST_WORD:
            self.check_length(token, line, quote)
        self.words.append(_ESCAPE.sub(_unescape, token) if "\\" in token else token)

    def finish(self, line: int) -> None:
        words = self.words
        if not words:
            self.refuse('unexpected ";"', line)
            return
        if self.code and words[-1].startswith(MARK):
            words[-1] = self.code[int(words[-1][len(MARK) :])]
        self.directives.append(Directive(words[0], tuple(words[1:]), self.source, line))
        self.words = []

    def open(self, line: int) -> None:
        if not self.words:
            self.refuse('unexpected "{"', line)
        if len(self._open) == DEEPEST_BLOCK:
            if not self._too_deep:
                self.refuse("blocks are nested too deeply", line)
            self._too_deep += 1
            self.words = []
            return
        self._open.append((self.words, line, self.directives))
        self.words = []
        self.directives = []

    def close(self, line: int) -> None:
        if self.words:
            self.refuse('unexpected "}"', line)
            self.words = []
        if self._too_deep:
            self._too_deep -= 1
        elif self._open:
            self._close_block()
        else:
            self.refuse('unexpected "}"', line)

    def end(self, line: int, *, in_quote: bool) -> None:
        if self.words or in_quote:
            self.refuse('unexpected end of file, expecting ";" or "}"', line)
        elif self._open:
            self.refuse('unexpected end of file, expecting "}"', line)
        self.words = []
        while self._open:
            self._close_block()

    def _close_block(self) -> None:
        words, line, outer = self._open.pop()
        if words:
            block = tuple(self.directives)
            outer.append(Directive(words[0], tuple(words[1:]), self.source, line, block))
        self.directives = outer


def _unescape(match: re.Match[str]) -> str:
    character = match[1]
    return _CONTROL.get(character, character)


def _walk(directives: tuple[Directive, ...]) -> Iterator[Directive]:
    for directive in directives:
        yield directive
        if directive.block:
            yield from _walk(directive.block)


def names_anywhere(directives: tuple[Directive, ...]) -> frozenset[str]:
    """Collect the names of all directives, at any depth."""
    return frozenset(directive.name for directive in _walk(directives))
