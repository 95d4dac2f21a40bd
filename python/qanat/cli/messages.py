"""How the command speaks: nginx's `PROGRAM: [LEVEL] TEXT` lines on standard error."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from qanat.config.errors import Problem


@dataclass(frozen=True, slots=True)
class Messages:
    """Where messages go before the data plane has opened the error log of the configuration."""

    program: str
    log: Path | None = None
    """The file of `-e`, which gets the same lines with nginx's time stamp."""

    def say(self, level: str, text: str) -> None:
        """Print one line, and write it to the log of `-e`."""
        print(f"{self.program}: [{level}] {text}", file=sys.stderr, flush=True)
        if self.log is None:
            return
        stamp = time.strftime("%Y/%m/%d %H:%M:%S")
        pid = os.getpid()
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(f"{stamp} [{level}] {pid}#{pid}: {text}\n")
        except OSError as error:
            alert = (
                f'could not open error log file: open() "{self.log}" failed {system_error(error)}'
            )
            print(f"{self.program}: [alert] {alert}", file=sys.stderr, flush=True)

    def plain(self, text: str) -> None:
        """Print a line that is no log message, such as the result of a test."""
        print(f"{self.program}: {text}", file=sys.stderr, flush=True)

    def problems(self, problems: Iterable[Problem]) -> None:
        """Print every problem with its level."""
        for problem in problems:
            self.say(problem.level, str(problem))


def system_error(error: OSError) -> str:
    """Write a system error as nginx does: `(98: Address already in use)`."""
    return f"({error.errno}: {error.strerror})"
