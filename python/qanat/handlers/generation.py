"""The handlers of one load of the modules. Sessions keep the generation that they began with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qanat.handlers.sessions import CLASSES, Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from qanat.handlers.life import Life
    from qanat.handlers.modules import Exchange


@dataclass(frozen=True, slots=True)
class Chain:
    """Handlers of one phase, in order, with their names, and the class of what they are given."""

    handlers: tuple[Callable[[Any], Any], ...]
    names: tuple[str, ...]
    phase: str
    make: type[Phase]


@dataclass(slots=True, weakref_slot=True)
class Generation:
    """The handlers of one load, by name."""

    life: Life
    modules: Exchange
    handlers: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)

    def chain(self, key: str) -> Chain:
        """Look up handlers by their phase and their names, one a line. Raise `KeyError`."""
        chain = self.chains.get(key)
        if chain is None:
            phase, *names = key.split("\n")
            handlers = tuple(self.handlers[name] for name in names)
            chain = self.chains[key] = Chain(handlers, tuple(names), phase, CLASSES[phase])
        return chain
