"""The tasks in which handlers run.

The handlers of a batch share a task, until one of them suspends: that one keeps it, and the rest
get another one. So whatever asyncio knows of the current task holds for a handler from its first
line on, and a handler that does not suspend costs no task.
"""

from __future__ import annotations

import asyncio
from asyncio import tasks as asyncio_tasks
from types import coroutine
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    Work = Callable[[asyncio.CancelledError | None], Coroutine[object, object, None]]


class SpareTask:
    """A task that waits for work, and can be the current task before it has any.

    Entering and leaving is what asyncio documents for those who make tasks ("Extending").
    """

    __slots__ = ("_gate", "_loop", "_work", "task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._gate: asyncio.Future[None] = loop.create_future()
        self._work: Work | None = None
        life = self._live()
        # As far as where a cancellation is caught: one that comes early is the work's to see.
        life.send(None)
        self.task: asyncio.Task[None] = loop.create_task(life)

    def is_fresh(self) -> bool:
        """Tell whether nobody has cancelled it, nor has it work."""
        return self._work is None and not self.task.cancelling() and not self.task.done()

    def enter(self) -> None:
        """Become the current task of a callback of the loop."""
        asyncio_tasks._enter_task(self._loop, self.task)

    def leave(self) -> None:
        """Be the current task no more."""
        asyncio_tasks._leave_task(self._loop, self.task)

    def keep(self, work: Work) -> asyncio.Task[None]:
        """Go on with `work`, which is told if the task was cancelled before."""
        self._work = work
        if not self._gate.done():
            self._gate.set_result(None)
        return self.task

    async def _live(self) -> None:
        cancelled: asyncio.CancelledError | None = None
        try:
            await _turn()
            await self._gate
        except asyncio.CancelledError as error:
            if self._work is None:
                raise
            cancelled = error
        if self._work is not None:
            await self._work(cancelled)


@coroutine
def _turn() -> Generator[None, None, None]:
    yield
