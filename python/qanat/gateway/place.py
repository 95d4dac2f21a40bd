"""Where in a program something is declared: what errors point to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

_OWN = str(Path(__file__).parent)


class Place(NamedTuple):
    """A line of a Python file."""

    file: str
    line: int


def calling_place() -> Place:
    """Find the line that called into this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and str(Path(frame.f_code.co_filename).parent) == _OWN:
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)
