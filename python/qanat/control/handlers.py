"""The handlers in Python as `control` sees them, and the records that show them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from qanat.compiler.handler_sources import HandlerSources


class HandlerView(msgspec.Struct, frozen=True, kw_only=True):
    """A handler of the configuration."""

    name: str
    phase: str
    origin: str
    open_calls: int
    """Calls that wait for something."""


class GenerationView(msgspec.Struct, frozen=True, kw_only=True):
    """One load of the handlers' modules; those before the current one have sessions left."""

    number: int
    is_current: bool
    open_calls: int
    background_tasks: int
    timers: int


class HandlersView(msgspec.Struct, frozen=True, kw_only=True):
    """All handlers; `generation` is what new sessions get, 0 if there are no handlers."""

    generation: int
    handlers: tuple[HandlerView, ...] = ()
    generations: tuple[GenerationView, ...] = ()


class Handlers(Protocol):
    """What runs handlers."""

    def taking_over(self, sources: HandlerSources) -> AbstractAsyncContextManager[int]:
        """Load handlers and give their number: in use once the context ends without an exception.

        Raise `ConfigError`, with the handlers of before untouched.
        """

    def view(self) -> HandlersView:
        """Show what is loaded."""


class NoHandlers:
    """Runs none: for gateways without an interpreter's end of the data plane."""

    @asynccontextmanager
    async def taking_over(self, _: HandlerSources) -> AsyncIterator[int]:
        """Load nothing."""
        yield 0

    def view(self) -> HandlersView:
        """Show nothing."""
        return HandlersView(generation=0)
