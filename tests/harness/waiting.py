"""Waiting for something to become true, with a bound."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PATIENCE = 10.0
"""Seconds after which anything that a test waits for is not coming."""


def until(check: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """Call `check` until it returns something true, and return that."""
    deadline = time.monotonic() + patience
    while not (found := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"still waiting for {what} after {patience} s")
        time.sleep(0.005)
    return found
