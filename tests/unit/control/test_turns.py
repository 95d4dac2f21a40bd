"""Changes take turns, bounded in number and in time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from qanat.control.errors import Busy, DeadlineExceeded
from qanat.control.turns import Limits, Turn, Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def test_one_at_a_time_in_the_order_of_asking() -> None:
    turns = Turns(Limits())
    seen: list[str] = []

    async def change(name: str) -> str:
        seen.append(f"{name} begins")
        await asyncio.sleep(0)
        seen.append(f"{name} ends")
        return name

    calls: list[Callable[[Turn], Awaitable[str]]] = [
        lambda _: change("a"),
        lambda _: change("b"),
        lambda _: change("c"),
    ]
    results = await asyncio.gather(*(turns.run(call) for call in calls))
    assert results == ["a", "b", "c"]
    assert seen == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


async def test_a_full_queue_refuses_at_once() -> None:
    turns = Turns(Limits(pending=2))
    gate = asyncio.Event()

    async def wait(_: Turn) -> None:
        await gate.wait()

    pending = [asyncio.create_task(turns.run(wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="2 changes are in progress"):
        await turns.run(wait)
    gate.set()
    await asyncio.gather(*pending)
    await turns.run(wait)


async def test_a_caller_that_gives_up_leaves_the_change_to_end() -> None:
    turns = Turns(Limits(deadline_s=0.01))
    gate = asyncio.Event()
    ended = asyncio.Event()
    late: list[DeadlineExceeded] = []

    async def slow(turn: Turn) -> None:
        await gate.wait()
        try:
            turn.check()
        except DeadlineExceeded as error:
            late.append(error)
        ended.set()

    with pytest.raises(DeadlineExceeded, match="not finished in time"):
        await turns.run(slow)
    gate.set()
    await ended.wait()
    assert len(late) == 1


async def test_a_change_whose_time_passed_while_waiting_is_never_begun() -> None:
    turns = Turns(Limits(deadline_s=0.01))
    gate = asyncio.Event()
    begun: list[Turn] = []

    async def note(turn: Turn) -> None:
        begun.append(turn)

    async def hold(_: Turn) -> None:
        await gate.wait()

    reload = asyncio.create_task(turns.run_unbounded(hold))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded):
        await turns.run(note)
    gate.set()
    await reload
    await turns.run_unbounded(hold)
    assert begun == []
