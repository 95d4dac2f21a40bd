"""Tasks beside the sessions: kept, bounded, logged, and ended with their code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.harness.handler_site import handler_site

from qanat.handlers import BackgroundFullError, background
from qanat.handlers.background import Tasks

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import asyncio
from qanat.handlers import background
ended = []


async def work():
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("work")


async def fails():
    raise ValueError("bad luck")


async def exits():
    raise SystemExit(3)


async def stubborn():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if ended:
                raise
            ended.append("told")


def f(session):
    return background, globals()
"""


async def test_a_task_ends_with_its_code(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(
            MODULE.replace("return background, globals()", "return background(work()), ended")
        )
        first = await site.load("site_app:f")
        task, ended = site.call(first)
        await asyncio.sleep(0)
        second = await site.load("site_app:f")
        assert not task.done()
        assert site.handlers.view().generations[0].background_tasks == 1
        site.bridge.retire(first)
        await asyncio.wait({task}, timeout=20)
        assert task.cancelled()
        assert ended == ["work"]
        assert [view.number for view in site.handlers.view().generations] == [second]


async def test_failures_are_logged_once_and_stay_in_the_task(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(
            MODULE.replace("background, globals()", "background(fails()), background(exits())")
        )
        tasks = site.call(await site.load("site_app:f"))
        await asyncio.wait(tasks, timeout=20)
        with pytest.raises(ValueError, match="bad luck"):
            await tasks[0]
        await asyncio.sleep(0)
        assert site.logged[0] == (
            "background task fails failed: ValueError: bad luck at site_app.py:15 in fails"
        )
        assert "SystemExit in a background task" in site.logged[1]
        assert len(site.logged) == 2


async def test_tasks_are_bounded(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(MODULE.replace("background, globals()", "background(work())"))
        number = await site.load("site_app:f", background=2)
        task = site.call(number)
        site.call(number)
        with pytest.raises(BackgroundFullError, match="python_background_limit allows no more"):
            site.call(number)
        task.cancel()
        await asyncio.wait({task}, timeout=20)
        site.call(number)


async def test_a_task_that_does_not_end_is_left_behind(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(MODULE.replace("background, globals()", "background(stubborn(), name='mule')"))
        task = site.call(await site.load("site_app:f", shutdown_timeout_s=0.01))
        await asyncio.sleep(0)
    assert site.logged == ["background task mule does not end"]
    task.cancel()


async def never() -> None:
    raise AssertionError


async def test_elsewhere_there_is_nothing_to_belong_to() -> None:
    with pytest.raises(RuntimeError, match="background\\(\\) is for code that handlers run"):
        background(never())


async def test_code_that_has_ended_starts_nothing() -> None:
    tasks = Tasks(4, lambda *_: None)
    await tasks.end(1)
    with pytest.raises(RuntimeError, match="no longer in use"):
        tasks.start(never())
