"""The life of code that was loaded: its functions for the start and the end, timers, and tasks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from contextvars import copy_context
from typing import TYPE_CHECKING

from qanat.config.errors import ConfigError, Problem
from qanat.handlers.background import OWNER, Tasks
from qanat.handlers.failures import describe
from qanat.handlers.hooks import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qanat.compiler.handler_sources import Limits
    from qanat.handlers.hooks import Hook, Hooks, Timer


class Life:
    """Begins with `start`, is in use from `begin_timers` to `stop_timers`, and over with `end`.

    Hooks may be added between two calls of `start`: the second runs those that the first did not.
    """

    def __init__(self, hooks: Hooks, limits: Limits, log: Callable[[str, str], None]) -> None:
        self.hooks = hooks
        self.limits = limits
        self.tasks = Tasks(limits.background, log)
        self.context = copy_context()
        """What its code runs in copies of: variables that startup functions set are seen by all."""
        self.context.run(OWNER.set, self.tasks)
        self._log = log
        self._started = 0
        self._is_complete = False
        self._timing: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Run the startup functions. Raise `ConfigError` for the first that fails or is late."""
        if self._started < len(self.hooks.startup):
            loop = asyncio.get_running_loop()
            await loop.create_task(self._start(), context=self.context)
        self._is_complete = True

    async def _start(self) -> None:
        timeout = self.limits.startup_timeout_s
        for function in self.hooks.startup[self._started :]:
            deadline = asyncio.timeout(timeout)
            try:
                async with deadline:
                    await _call(function)
            except BaseException as error:
                if _is_cancelled(error):
                    raise
                late = f"did not end within python_startup_timeout ({timeout:g} s)"
                what = late if deadline.expired() else f"failed: {describe(error)}"
                raise ConfigError([_problem(function, what)]) from error
            self._started += 1

    def begin_timers(self) -> None:
        """Let the timers run that do not yet."""
        for timer in self.hooks.timers[len(self._timing) :]:
            loop = asyncio.get_running_loop()
            context = self.context.copy()
            self._timing.append(loop.create_task(self._run_timer(timer), context=context))

    def stop_timers(self) -> None:
        """Let no run of a timer begin any more; one under way ends by itself."""
        self._stopping.set()

    def running_timers(self) -> int:
        """Count the timers that have not stopped."""
        return sum(not task.done() for task in self._timing)

    async def end(self) -> None:
        """Run the shutdown functions if it was started, then cancel everything. Never raises."""
        self.stop_timers()
        if self._is_complete:
            loop = asyncio.get_running_loop()
            await loop.create_task(self._shut_down(), context=self.context.copy())
        for task in self._timing:
            task.cancel()
        grace = self.limits.shutdown_timeout_s
        await self.tasks.end(grace)
        if self._timing:
            await asyncio.wait(self._timing, timeout=grace)

    async def _shut_down(self) -> None:
        timeout = self.limits.shutdown_timeout_s
        end = asyncio.get_running_loop().time() + timeout
        for function in reversed(self.hooks.shutdown):
            deadline = asyncio.timeout_at(end)
            try:
                async with deadline:
                    await _call(function)
            except BaseException as error:
                if _is_cancelled(error):
                    raise
                late = f"did not end within python_shutdown_timeout ({timeout:g} s)"
                what = late if deadline.expired() else f"failed: {describe(error)}"
                self._log("error", f"shutdown function {name_of(function)} {what}")

    async def _run_timer(self, timer: Timer) -> None:
        for pause in _pauses(timer):
            try:
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            except TimeoutError:
                await self._run_once(timer)
            else:
                return

    async def _run_once(self, timer: Timer) -> None:
        try:
            await _call(timer.function)
        except BaseException as error:
            if _is_cancelled(error):
                raise
            self._log("error", f"timer {name_of(timer.function)} failed: {describe(error)}")


def _pauses(timer: Timer) -> Iterator[float]:
    while True:
        yield timer.seconds + random.uniform(0, timer.jitter)  # noqa: S311 - spreads load


async def _call(function: Hook) -> None:
    result = function()
    if isinstance(result, Awaitable):
        await result


def _is_cancelled(error: BaseException) -> bool:
    """Tell whether it is this task that somebody cancels, and not something that it waits for."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _problem(function: Hook, what: str) -> Problem:
    code = getattr(function, "__code__", None)
    message = f"startup function {name_of(function)} {what}"
    return Problem(message, code.co_filename, code.co_firstlineno) if code else Problem(message)
