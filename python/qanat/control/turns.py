"""Changes take turns: one at a time, a bounded number waiting, each with a deadline.

A change that was begun is never cancelled half-way: a caller that gives up leaves it to end by
itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from qanat.control.errors import Busy, DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """`pending` changes at most are in progress or waiting; `deadline_s` is the time of one."""

    pending: int = 500
    deadline_s: float = 5.0


class Turn:
    """The turn of one change."""

    def __init__(self, deadline: float | None) -> None:
        self._deadline = deadline

    def check(self) -> None:
        """Raise `DeadlineExceeded` once nobody waits; for the last moment to turn back."""
        if self._deadline is not None and asyncio.get_running_loop().time() > self._deadline:
            raise DeadlineExceeded("the change took too long and was given up, nothing changed")


class Turns:
    """Hands out turns."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()

    async def run(self, change: Callable[[Turn], Awaitable[T]]) -> T:
        """Carry out a change in its turn. Raise `Busy`, `DeadlineExceeded`, or what it raises."""
        if len(self._tasks) >= self.limits.pending:
            raise Busy(f"{self.limits.pending} changes are in progress, try again later")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.limits.deadline_s
        task = loop.create_task(self._in_turn(change, deadline))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait({task}, timeout=self.limits.deadline_s)
        if not done:
            raise DeadlineExceeded(
                "the change was not finished in time, read the state to see whether it was made"
            )
        return task.result()

    async def run_unbounded(self, change: Callable[[Turn], Awaitable[T]]) -> T:
        """Carry out a change of the operator's own (a reload), however long it takes."""
        async with self._lock:
            return await change(Turn(None))

    async def _in_turn(self, change: Callable[[Turn], Awaitable[T]], deadline: float) -> T:
        turn = Turn(deadline)
        async with self._lock:
            turn.check()
            return await change(turn)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Marks the exception as seen, for a caller that has gone away.
            task.exception()
