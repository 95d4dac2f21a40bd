"""Modules below `python_path`, imported anew for each load beside those that older sessions use."""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import ModuleType


@contextmanager
def from_source() -> Iterator[None]:
    """Leave no bytecode behind: it is known by a date in seconds and a size, and code that was
    changed twice within a second would be taken for what it was before."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


_INSTALLED = f"{os.sep}site-packages{os.sep}"


class Exchange:
    """Takes the modules below some directories out of `sys.modules`, so that they are imported
    anew; `undo` puts them back."""

    def __init__(self, path: Iterable[Path]) -> None:
        self._places = [str(place.resolve()) for place in path]
        self._prefixes = tuple(f"{place.rstrip(os.sep)}{os.sep}" for place in self._places)
        self._kept: dict[str, ModuleType] = self._take_out()
        rest = (place for place in sys.path if place not in self._places)
        sys.path[:] = [*self._places, *rest]
        importlib.invalidate_caches()

    def holds(self, file: str | None) -> bool:
        """Tell whether a file is below one of the directories, and not installed there."""
        if file is None:
            return False
        return file.startswith(self._prefixes) and _INSTALLED not in file

    def undo(self) -> None:
        """Have `sys.modules` as before."""
        self._take_out()
        sys.modules.update(self._kept)
        self.settle()

    def settle(self) -> None:
        """Forget the modules of before: they live as long as something uses them."""
        self._kept = {}

    def _take_out(self) -> dict[str, ModuleType]:
        found = {
            name: module
            for name, module in sys.modules.items()
            if name != "__main__" and self.holds(getattr(module, "__file__", None))
        }
        for name in found:
            del sys.modules[name]
        return found
