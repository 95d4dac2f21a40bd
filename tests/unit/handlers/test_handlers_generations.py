"""One load after another: what each keeps, and that nothing is left of those that have ended."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from typing import TYPE_CHECKING

import pytest
from tests.harness.handler_site import Site, handler_site

from qanat.config.errors import ConfigError
from qanat.handlers.hooks import Hooks, Timer

if TYPE_CHECKING:
    from pathlib import Path

MODULE = """
import asyncio
from qanat.handlers import background, every, on_shutdown, on_startup


class Something:
    pass


thing = Something()


@on_startup
async def start():
    background(asyncio.Event().wait())


@on_shutdown
def stop():
    thing.stopped = True


@every(60)
def tick():
    pass


def f(session):
    return thing
"""


async def retired(site: Site, number: int) -> None:
    """Have the data plane tell that nothing uses a generation, and wait for its end."""
    site.bridge.retire(number)
    while any(view.number == number for view in site.handlers.view().generations):
        await asyncio.sleep(0)
    while site.handlers._ending:
        await asyncio.sleep(0)


async def test_nothing_is_left_of_code_that_is_no_longer_used(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(MODULE)
        left: list[weakref.ref[object]] = []
        before = await site.load("site_app:f")
        for _ in range(1000):
            generation = site.generation(before)
            handler = generation.handlers["site_app:f"]
            left += map(weakref.ref, (generation, handler, handler(None)))
            del generation, handler
            after = await site.load("site_app:f")
            await retired(site, before)
            before = after
        gc.collect()
        assert [one() for one in left if one() is not None] == []
        assert len(asyncio.all_tasks()) <= 4


async def test_a_generation_that_was_not_put_to_use_ends(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(MODULE)
        first = await site.load("site_app:f")
        module = sys.modules["site_app"]
        with pytest.raises(OSError, match="in use"):
            async with site.handlers.taking_over(site.sources("site_app:f")) as number:
                thing = site.call(number)
                raise OSError("in use")
        assert thing.stopped
        assert sys.modules["site_app"] is module
        assert not hasattr(site.call(first), "stopped")
        (view,) = site.handlers.view().generations
        assert (view.number, view.is_current, view.timers) == (first, True, 1)


async def test_modules_of_a_failed_load_are_forgotten(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write("", "site_part")
        site.write("import site_part\nraise ValueError('no')")
        with pytest.raises(
            ConfigError, match='cannot load access handler "site_app:f": ValueError'
        ):
            await site.load("site_app:f")
        assert not {"site_app", "site_part"} & set(sys.modules)


async def test_without_handlers_the_older_ones_end_with_their_sessions(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(MODULE)
        first = await site.load("site_app:f")
        thing = site.call(first)
        assert await site.load() == 0
        (view,) = site.handlers.view().generations
        assert (view.is_current, view.timers) == (False, 1) or view.timers == 0
        await retired(site, first)
        assert thing.stopped


async def test_hooks_that_were_given_live_as_long_as_the_gateway(tmp_path: Path) -> None:
    events: list[str] = []
    ticked = asyncio.Event()
    hooks = Hooks(
        [lambda: events.append("start")],
        [lambda: events.append("stop")],
        [Timer(ticked.set, 0.001, 0.0)],
    )
    async with handler_site(tmp_path, hooks) as site:
        site.write("def f(session): ...")
        await site.load()
        await asyncio.wait_for(ticked.wait(), 20)
        await retired(site, await site.load("site_app:f"))
        await site.load("site_app:f")
        assert events == ["start"]
    assert events == ["start", "stop"]


async def test_functions_need_no_module(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        sources = site.sources("site_app:f()")
        sources.functions = {"site_app:f()": lambda session: (session, "given")}
        async with site.handlers.taking_over(sources) as number:
            assert site.call(number, "site_app:f()") == (None, "given")
