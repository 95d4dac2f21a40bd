"""Problems of a configuration: nginx's wording, the place, and all of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong at one place; `file` is empty if no place applies, `line` is 0 if the file has no lines."""

    message: str
    file: str = ""
    line: int = 0
    level: Literal["emerg", "warn"] = "emerg"
    hint: str = ""

    def __str__(self) -> str:
        """Say it as nginx does: `MESSAGE in FILE:LINE`, then our hint."""
        text = self.message
        if self.file:
            text += f" in {self.file}"
            if self.line:
                text += f":{self.line}"
        return f"{text}; {self.hint}" if self.hint else text


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` holds everything found, in the order of the text."""

    problems: tuple[Problem, ...]

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
