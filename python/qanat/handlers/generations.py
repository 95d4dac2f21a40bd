"""The handlers of a running gateway: one generation after another, each as long as it is used.

A generation is loaded and started before the data plane refers to it, and ends when the data plane
tells that no session has it any more.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from qanat.compiler.handler_sources import HandlerSources, Limits
from qanat.control.handlers import GenerationView, HandlersView, HandlerView
from qanat.handlers.background import OWNER
from qanat.handlers.hooks import Hooks
from qanat.handlers.life import Life
from qanat.handlers.load import load
from qanat.handlers.run import Calls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from qanat._native import Bridge
    from qanat.handlers.generation import Generation


class Handlers:
    """All handlers of a gateway. Implements `qanat.control.handlers.Handlers`."""

    def __init__(
        self, bridge: Bridge, log: Callable[[str, str], None], hooks: Hooks | None = None
    ) -> None:
        self._bridge = bridge
        self._log = log
        # What is imported only once, or was given as a function, lives as long as the gateway.
        self.lasting = Life(Hooks() if hooks is None else hooks, Limits(), log)
        self._generations: dict[int, Generation] = {}
        self._calls = Calls(bridge, self._generations)
        self._sources = HandlerSources()
        self._last = 0
        self._current = 0
        self._is_attached = False
        self._ending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def taking_over(self, sources: HandlerSources) -> AsyncIterator[int]:
        """Load handlers and run their startup functions; give the number of their generation.

        It is in use once the context ends without an exception; after one it is dropped. One at a
        time. Raise `ConfigError`, with the handlers of before untouched.
        """
        self.lasting.limits = sources.limits
        self.lasting.tasks.limit = sources.limits.background
        number, generation = await self._load(sources)
        try:
            await self.lasting.start()
            if generation is not None:
                await generation.life.start()
            yield number
        except BaseException:
            if generation is not None:
                generation.modules.undo()
                await self._end(number)
            raise
        self._put_to_use(number, sources)

    async def _load(self, sources: HandlerSources) -> tuple[int, Generation | None]:
        if not sources:
            return 0, None
        generation = load(sources, self._log, self.lasting.hooks)
        if sources.functions.keys() >= sources.by_name.keys():
            # No code that a reload replaces: what it starts goes on, too.
            generation.life.context.run(OWNER.set, self.lasting.tasks)
        self._last += 1
        self._generations[self._last] = generation
        self._attach()
        return self._last, generation

    def _put_to_use(self, number: int, sources: HandlerSources) -> None:
        before = self._generations.get(self._current)
        if before is not None:
            before.life.stop_timers()
        self._current = number
        self._sources = sources
        generation = self._generations.get(number)
        if generation is not None:
            generation.modules.settle()
            generation.life.begin_timers()
        self.lasting.begin_timers()

    def _attach(self) -> None:
        if not self._is_attached:
            self._is_attached = True
            self._calls.attach()
            loop = asyncio.get_running_loop()
            loop.add_reader(self._bridge.retired_fileno(), self._take_retired)

    def _take_retired(self) -> None:
        for number in self._bridge.take_retired():
            task = asyncio.get_running_loop().create_task(self._end(number))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _end(self, number: int) -> None:
        """End a generation that nothing uses. Nothing of it is kept."""
        generation = self._generations.pop(number, None)
        if generation is not None:
            await generation.life.end()

    async def stop_content(self) -> None:
        """Have content handlers end, and wait for them and their last words: a second at most."""
        await self._calls.stop_content()

    async def close(self) -> None:
        """Run what still waits, then end all generations. The data plane has stopped."""
        await self._calls.close()
        if self._is_attached:
            asyncio.get_running_loop().remove_reader(self._bridge.retired_fileno())
            self._is_attached = False
        ends = [self._end(number) for number in tuple(self._generations)]
        await asyncio.gather(*ends, *self._ending)
        await self.lasting.end()

    def view(self) -> HandlersView:
        """Show the handlers that are in use, and generations that older sessions still have."""
        calls = self._calls.open_calls()
        handlers = [*self._sources.init, *self._sources.by_name.values()]
        return HandlersView(
            generation=self._current,
            handlers=tuple(
                HandlerView(
                    name=source.name,
                    phase=source.phase,
                    origin=f"{source.file}:{source.line}",
                    open_calls=calls[self._current, source.name],
                )
                for source in handlers
            ),
            generations=tuple(
                GenerationView(
                    number=number,
                    is_current=number == self._current,
                    open_calls=sum(count for (of, _), count in calls.items() if of == number),
                    background_tasks=len(generation.life.tasks),
                    timers=generation.life.running_timers(),
                )
                for number, generation in self._generations.items()
            ),
        )
