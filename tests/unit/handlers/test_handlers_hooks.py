"""Functions at the start and the end of loaded code, and timers."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest
from tests.harness.handler_site import handler_site

from qanat.config.errors import ConfigError
from qanat.handlers import every, on_shutdown, on_startup
from qanat.handlers.load import load

if TYPE_CHECKING:
    from pathlib import Path

HOOKS = """
from qanat.handlers import on_shutdown, on_startup
events = []


@on_startup
async def connect():
    events.append("connect")


@on_startup
def prepare():
    events.append("prepare")


@on_shutdown
def forget():
    events.append("forget")


@on_shutdown
async def disconnect():
    events.append("disconnect")


def f(session):
    return events
"""


async def test_functions_of_the_start_and_the_end_run_in_order(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(HOOKS)
        events = site.call(await site.load("site_app:f"))
        assert events == ["connect", "prepare"]
    assert events == ["connect", "prepare", "disconnect", "forget"]


async def test_a_start_that_fails_refuses_the_load(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(HOOKS)
        first = await site.load("site_app:f")
        events, before = site.call(first), sys.modules["site_app"]
        site.write(HOOKS.replace('events.append("prepare")', 'raise OSError("no such place")'))
        with pytest.raises(ConfigError) as caught:
            await site.load("site_app:f")
        (problem,) = caught.value.problems
        assert problem.message == (
            "startup function site_app:prepare failed: OSError: no such place "
            "at site_app.py:13 in prepare"
        )
        assert (problem.file, problem.line) == (str(tmp_path / "site_app.py"), 11)
        assert sys.modules["site_app"] is before
        assert events == ["connect", "prepare"]
        assert [view.number for view in site.handlers.view().generations] == [first]


async def test_a_start_that_hangs_is_refused_in_time(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(
            "import asyncio\nfrom qanat.handlers import on_startup\n"
            "@on_startup\nasync def hangs():\n    await asyncio.Event().wait()\n"
            "def f(session): ...\n"
        )
        with pytest.raises(
            ConfigError, match=r"did not end within python_startup_timeout \(0.01 s"
        ):
            await site.load("site_app:f", startup_timeout_s=0.01)


async def test_an_end_that_fails_or_hangs_is_logged(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(
            "import asyncio\nfrom qanat.handlers import on_shutdown\n"
            "@on_shutdown\nasync def hangs():\n    await asyncio.Event().wait()\n"
            "@on_shutdown\ndef fails():\n    raise SystemExit(3)\n"
            "def f(session): ...\n"
        )
        await site.load("site_app:f", shutdown_timeout_s=0.01)
    assert site.logged == [
        "shutdown function site_app:fails failed: SystemExit: 3 at site_app.py:8 in fails",
        "shutdown function site_app:hangs did not end within python_shutdown_timeout (0.01 s)",
    ]


async def test_modules_that_are_imported_once_start_and_end_with_the_gateway(
    tmp_path: Path,
) -> None:
    installed = tmp_path / "lib/site-packages"
    installed.mkdir(parents=True)
    (installed / "site_lib.py").write_text(HOOKS)
    async with handler_site(tmp_path) as site:
        site.write("import sys\nsys.path.append(sys.path[0] + '/lib/site-packages')\n", "site_path")
        site.write("import site_path, site_lib\ndef f(session): return site_lib.events\n")
        events = site.call(first := await site.load("site_app:f"))
        second = await site.load("site_app:f")
        site.bridge.retire(first)
        while len(site.handlers.view().generations) > 1:
            await asyncio.sleep(0)
        assert site.call(second) is events
        assert events == ["connect", "prepare"]
    assert events == ["connect", "prepare", "disconnect", "forget"]


TIMERS = """
import asyncio
from qanat.handlers import every
runs, ran, gate, passed = [], asyncio.Event(), asyncio.Event(), asyncio.Semaphore(0)


@every(0.001)
async def tick():
    runs.append(VERSION)
    ran.set()
    await gate.wait()
    if len(runs) == 2:
        raise ValueError("the second run")


@every(0.001)
def measure():
    passed.release()


def f(session):
    return runs, ran, gate, passed
"""


async def test_runs_of_a_timer_do_not_overlap_and_go_on_after_a_failure(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(TIMERS.replace("VERSION", "1"))
        runs, ran, gate, passed = site.call(await site.load("site_app:f"))
        await asyncio.wait_for(ran.wait(), 20)
        for _ in range(5):  # as often as the other timer has run, the next run was due
            await asyncio.wait_for(passed.acquire(), 20)
        assert runs == [1]
        gate.set()
        while len(runs) < 4:
            ran.clear()
            await asyncio.wait_for(ran.wait(), 20)
        assert site.logged == [
            "timer site_app:tick failed: ValueError: the second run at site_app.py:13 in tick"
        ]


async def test_timers_of_older_code_stop_when_newer_code_is_used(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(TIMERS.replace("VERSION", "1"))
        first = await site.load("site_app:f")
        runs, ran, gate, _ = site.call(first)
        await asyncio.wait_for(ran.wait(), 20)
        site.write(TIMERS.replace("VERSION", "2"))
        newer, began, *_ = site.call(await site.load("site_app:f"))
        await asyncio.wait_for(began.wait(), 20)
        gate.set()
        while site.generation(first).life.running_timers():
            await asyncio.sleep(0)
        assert (runs, newer) == ([1], [2])


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_an_interval_is_a_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="wants a number of seconds above 0"):
        every(seconds)
    with pytest.raises(ValueError, match="jitter"):
        every(1, jitter=-1)


def test_hooks_are_declared_while_a_module_is_loaded() -> None:
    for declare in (on_startup, on_shutdown):
        with pytest.raises(RuntimeError, match=rf"{declare.__name__}\(\) is for the top level"):
            declare(print)
    with pytest.raises(RuntimeError, match=r"every\(\) is for the top level"):
        every(1)


async def test_a_check_runs_nothing(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(HOOKS)
        generation = load(site.sources("site_app:f"), run_init=False)
        assert generation.handlers["site_app:f"](None) == []


async def test_an_init_coroutine_is_a_function_of_the_start(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write("seen = []\nasync def start(): seen.append(1)\ndef f(session): return seen\n")
        sources = site.sources("site_app:f")
        sources.init.append(site.sources("site_app:start").by_name["site_app:start"])
        async with site.handlers.taking_over(sources) as number:
            assert site.call(number) == [1]


async def test_what_the_start_sets_is_seen_by_handlers(tmp_path: Path) -> None:
    async with handler_site(tmp_path) as site:
        site.write(
            "from contextvars import ContextVar\nfrom qanat.handlers import on_startup\n"
            "pool = ContextVar('pool')\n"
            "@on_startup\nasync def start(): pool.set('open')\n"
            "def f(session): return pool.get()\n"
        )
        assert site.call(await site.load("site_app:f")) == "open"
