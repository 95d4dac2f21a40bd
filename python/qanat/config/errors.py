"""Problems of a configuration: nginx's wording, the place, and all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong at one place; without a place `file` is empty, without lines `line` is 0."""

    message: str
    file: str = ""
    line: int = 0
    level: Literal["emerg", "warn"] = "emerg"
    hint: str = ""

    # `typing.override` is not in Python 3.11.
    def __str__(self) -> str:  # type: ignore[explicit-override]
        """Say it as nginx does: `MESSAGE in FILE:LINE`, then our hint."""
        text = self.message
        if self.file:
            text += f" in {self.file}"
            if self.line:
                text += f":{self.line}"
        return f"{text}; {self.hint}" if self.hint else text


class ConfigError(Exception):
    """A configuration that cannot be used: the text has a line for each of its problems."""

    problems: tuple[Problem, ...]
    """Everything found, in order, each with its message, file, line and hint."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
