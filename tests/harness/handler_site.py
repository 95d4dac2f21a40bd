"""Handlers of a directory, loaded without a data plane: tests say what it would tell."""

from __future__ import annotations

import os
import sys
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

from qanat.compiler.handler_sources import HandlerSources, Limits, Source
from qanat.handlers.generations import Handlers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from qanat._native import Bridge, Session
    from qanat.handlers.generation import Generation
    from qanat.handlers.hooks import Hooks


class SilentBridge:
    """The event loop's end of a data plane that calls nothing, and tells what `retire` is given."""

    def __init__(self) -> None:
        self._calls = os.eventfd(0)
        self._retirement = os.eventfd(0)
        self._retired: list[int] = []

    def fileno(self) -> int:
        return self._calls

    def take(self, _: int) -> tuple[list[Session], list[int]]:
        return [], []

    def resume(self) -> None: ...

    def begin_batch(self) -> None: ...

    def end_batch(self) -> None: ...

    def retired_fileno(self) -> int:
        return self._retirement

    def take_retired(self) -> list[int]:
        os.eventfd_read(self._retirement)
        retired, self._retired = self._retired, []
        return retired

    def retire(self, number: int) -> None:
        self._retired.append(number)
        os.eventfd_write(self._retirement, 1)

    def close(self) -> None:
        os.close(self._calls)
        os.close(self._retirement)


class Site:
    """A directory of modules, and the handlers that are loaded from it."""

    def __init__(self, directory: Path, hooks: Hooks | None = None) -> None:
        self.directory = directory
        self.bridge = SilentBridge()
        self.logged: list[str] = []
        bridge = cast("Bridge", self.bridge)
        self.handlers = Handlers(bridge, lambda _, line: self.logged.append(line), hooks)

    def write(self, text: str, name: str = "site_app") -> None:
        (self.directory / f"{name}.py").write_text(text)

    async def load(self, *names: str, **limits: float) -> int:
        """Load handlers named `MODULE:FUNCTION` and put them to use."""
        async with self.handlers.taking_over(self.sources(*names, **limits)) as number:
            pass
        return number

    def sources(self, *names: str, **limits: float) -> HandlerSources:
        handlers = {name: Source(name, "access", "", "q.conf", 3) for name in names}
        given: dict[str, Any] = limits
        return HandlerSources([self.directory], [], handlers, limits=Limits(**given))

    def generation(self, number: int) -> Generation:
        return self.handlers._generations[number]

    def call(self, number: int, name: str = "site_app:f") -> Any:  # noqa: ANN401 - whatever it returns
        """Run a handler as a call would."""
        generation = self.generation(number)
        return generation.life.context.copy().run(generation.handlers[name], None)


@contextmanager
def own_modules(directory: Path) -> Iterator[None]:
    """Forget the modules of a directory at the end."""
    before = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = before
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "") or "").startswith(str(directory)):
                del sys.modules[name]


@asynccontextmanager
async def handler_site(directory: Path, hooks: Hooks | None = None) -> AsyncIterator[Site]:
    """Give a site, closed at the end."""
    with own_modules(directory):
        site = Site(directory, hooks)
        try:
            yield site
        finally:
            await site.handlers.close()
            site.bridge.close()
