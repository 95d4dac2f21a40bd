"""How the command speaks: nginx's `PROGRAM: [LEVEL] TEXT` lines on standard error."""

from __future__ import annotations

import contextlib
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
        _print(f"{self.program}: [{level}] {text}")
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
            _print(f"{self.program}: [alert] {alert}")

    def plain(self, text: str) -> None:
        """Print a line that is no log message, such as the result of a test."""
        _print(f"{self.program}: {text}")

    def problems(self, problems: Iterable[Problem]) -> None:
        """Print every problem with its level."""
        for problem in problems:
            self.say(problem.level, str(problem))


def announce(line: str) -> None:
    """Print a line to standard output, where somebody may read it or not."""
    try:
        print(line, flush=True)
    except OSError:
        # What is left in the buffer would make the end of the process a failure.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _print(line: str) -> None:
    # A terminal that is gone or a full disk under standard error stops nothing, as in nginx.
    with contextlib.suppress(OSError):
        try:
            descriptor = sys.stderr.fileno()
        except (AttributeError, ValueError):
            print(line, file=sys.stderr, flush=True)
        else:
            # Past the buffer: what is left in it would make the end of the process a failure.
            os.write(descriptor, f"{line}\n".encode(errors="backslashreplace"))


def system_error(error: OSError) -> str:
    """Write a system error as nginx does: `(98: Address already in use)`."""
    return f"({error.errno}: {error.strerror})"
