"""The handlers of a configuration as it gives them, for `qanat.handlers` to load."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """A handler: `MODULE:FUNCTION` by its name, or the code of a block, named `FILE:LINE`."""

    name: str
    phase: str
    code: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What the code of one load may take; times in seconds."""

    startup_timeout_s: float = 60.0
    shutdown_timeout_s: float = 10.0
    background: int = 1024
    """Background tasks that may be pending."""


@dataclass(slots=True)
class HandlerSources:
    """All handlers of a configuration, and where their modules are."""

    path: list[Path] = field(default_factory=list)
    init: list[Source] = field(default_factory=list)
    by_name: dict[str, Source] = field(default_factory=dict)
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    """Handlers that were given as functions, by names that no module has."""
    limits: Limits = field(default_factory=Limits)

    def __bool__(self) -> bool:
        """Tell whether there is anything to load."""
        return bool(self.init or self.by_name)
