"""What libraries report through `logging` goes to the error log, as everything else does."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LEVELS = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warn",
    logging.ERROR: "error",
    logging.CRITICAL: "crit",
}


class ErrorLogHandler(logging.Handler):
    """Writes every line of a record, its traceback included, as a line of the error log."""

    def __init__(self, write: Callable[[str, str], None]) -> None:
        super().__init__()
        self._write = write

    # `typing.override` is not in Python 3.11.
    def emit(self, record: logging.LogRecord) -> None:  # type: ignore[explicit-override]
        """Write a record; a failure to do so is nobody's to handle."""
        level = _LEVELS.get(record.levelno, "error")
        with contextlib.suppress(Exception):
            for line in self.format(record).splitlines():
                if line.strip():
                    self._write(level, line)


@contextlib.contextmanager
def logging_to(write: Callable[[str, str], None]) -> Iterator[None]:
    """Send warnings and worse of all loggers to `write` as long as the context lasts.

    Without it they would go to standard error, which a gateway in the background does not have.
    """
    root = logging.getLogger()
    handler = ErrorLogHandler(write)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
