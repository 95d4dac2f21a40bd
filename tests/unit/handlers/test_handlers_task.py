"""The task that handlers of a batch share: current before it runs, and kept by who suspends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qanat.handlers.task import SpareTask

if TYPE_CHECKING:
    from collections.abc import Callable


class Work:
    """What a handler leaves to its task: notes where and how it was run."""

    def __init__(self) -> None:
        self.task: asyncio.Task[object] | None = None
        self.cancelled: asyncio.CancelledError | None = None

    async def run(self, cancelled: asyncio.CancelledError | None) -> None:
        self.task, self.cancelled = asyncio.current_task(), cancelled


def current_task_in(spare: SpareTask) -> asyncio.Task[object] | None:
    spare.enter()
    try:
        return asyncio.current_task()
    finally:
        spare.leave()


async def in_a_callback(act: Callable[[], None]) -> None:
    """Run a function as a callback of the loop, where no task is current."""
    asyncio.get_running_loop().call_soon(act)
    await asyncio.sleep(0)


async def test_work_goes_on_in_the_task_that_it_began_in() -> None:
    work = Work()
    seen: list[asyncio.Task[object] | None] = []

    def act() -> None:
        spare = SpareTask(asyncio.get_running_loop())
        seen.append(current_task_in(spare))
        seen.append(spare.keep(work.run))

    await in_a_callback(act)
    begun, kept = seen
    assert begun is kept is not None
    await kept
    assert work.task is kept
    assert work.cancelled is None


async def test_a_task_can_have_waited_for_long() -> None:
    spare, work = SpareTask(asyncio.get_running_loop()), Work()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await spare.keep(work.run)
    assert work.task is spare.task


async def test_a_cancellation_before_it_runs_is_for_the_work() -> None:
    spare, work = SpareTask(asyncio.get_running_loop()), Work()
    spare.task.cancel()
    assert not spare.is_fresh()
    await spare.keep(work.run)
    assert isinstance(work.cancelled, asyncio.CancelledError)


async def test_a_cancellation_while_it_waits_is_for_the_work() -> None:
    spare, work = SpareTask(asyncio.get_running_loop()), Work()
    await asyncio.sleep(0)
    spare.task.cancel()
    await spare.keep(work.run)
    assert isinstance(work.cancelled, asyncio.CancelledError)


async def test_a_task_without_work_ends_when_it_is_cancelled() -> None:
    spare = SpareTask(asyncio.get_running_loop())
    spare.task.cancel()
    await asyncio.wait([spare.task])
    assert spare.task.cancelled()
