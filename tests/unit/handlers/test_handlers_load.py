"""Loading handlers: modules, blocks, generations, and what goes wrong."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING

import pytest

from qanat.compiler.handler_sources import HandlerSources, Source
from qanat.config.errors import ConfigError
from qanat.handlers.load import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    before, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]


def block(code: str, phase: str = "preread", line: int = 7) -> Source:
    return Source(f"q.conf:{line}", phase, code, "q.conf", line)


def named(name: str, phase: str = "access") -> Source:
    return Source(name, phase, "", "q.conf", 3)


def sources(*handlers: Source, init: tuple[Source, ...] = ()) -> HandlerSources:
    return HandlerSources([], list(init), {one.name: one for one in handlers})


def test_a_block_that_awaits_is_a_coroutine() -> None:
    found = load(sources(block("await session.peek(1)"), block("return 5", line=9))).handlers
    assert inspect.iscoroutinefunction(found["q.conf:7"])
    assert found["q.conf:9"](None) == 5


def test_an_await_inside_a_function_of_the_block_is_not_the_blocks() -> None:
    code = "async def inner():\n    await x\nreturn 1"
    assert not inspect.iscoroutinefunction(load(sources(block(code))).handlers["q.conf:7"])


def test_what_makes_a_block_a_coroutine_may_be_in_a_comprehension() -> None:
    code = "return [line async for line in session.reader]"
    assert inspect.iscoroutinefunction(load(sources(block(code))).handlers["q.conf:7"])


@pytest.mark.parametrize("code", [" \n ", "# nothing but words"])
def test_a_block_may_be_empty(code: str) -> None:
    assert load(sources(block(code))).handlers["q.conf:7"](None) is None


def test_lines_are_those_of_the_configuration() -> None:
    handler = load(sources(block("\n  x = 1\n  y = 1 / 0\n"))).handlers["q.conf:7"]
    with pytest.raises(ZeroDivisionError) as caught:
        handler(None)
    assert caught.traceback[-1].lineno + 1 == 9
    assert handler.__code__.co_filename == "q.conf"


def test_blocks_see_what_init_defines() -> None:
    found = load(sources(block("return N", "log"), init=(block("N = 4", "init", 1),)))
    assert found.handlers["q.conf:7"](None) == 4


def test_init_is_only_looked_at_in_a_check() -> None:
    load(sources(init=(block("raise ValueError", "init"),)), run_init=False)
    with pytest.raises(ConfigError, match="ValueError"):
        load(sources(init=(block("raise ValueError", "init"),)))


def test_each_load_has_modules_of_its_own(place: Path) -> None:
    wanted = HandlerSources([place], [], {"app_one:f": named("app_one:f")})
    (place / "app_one.py").write_text("from part_one import V\ndef f(s): return V\n")
    (place / "part_one.py").write_text("V = 1\n")
    first = load(wanted).handlers["app_one:f"]
    (place / "part_one.py").write_text("V = 'two'\n")
    second = load(wanted).handlers["app_one:f"]
    assert (first(None), second(None)) == (1, "two")
    (place / "part_one.py").write_text("V = \n")
    with pytest.raises(ConfigError, match="SyntaxError"):
        load(wanted)
    assert sys.modules["part_one"].V == "two"


def test_all_that_cannot_be_loaded_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load(sources(named("no_such:f"), named("json:no_such"), named("json:__name__")))
    messages = [str(problem) for problem in caught.value.problems]
    assert len(messages) == 3
    assert all(message.endswith(" in q.conf:3") for message in messages)
    assert "__name__ is not a function" in messages[2]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("raise SystemExit(3)", r"SystemExit: 3 \(.*app_two\.py:1\) in q\.conf:3"),
        (
            "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
            r"E: \(saying why raised ValueError\) \(.*app_two\.py:3\)",
        ),
        ("def f(): pass", "called with one argument, the session: too many positional arguments"),
        ("def f(session, more): pass", "the session: missing a required argument: 'more'"),
    ],
)
def test_a_module_that_is_wrong_is_a_problem_of_the_configuration(
    place: Path, text: str, why: str
) -> None:
    (place / "app_two.py").write_text(text)
    with pytest.raises(ConfigError, match=why):
        load(HandlerSources([place], [], {"app_two:f": named("app_two:f")}))


def test_a_chain_is_found_by_phase_and_names() -> None:
    generation = load(sources(named("json:dumps"), named("json:loads")))
    chain = generation.chain("access\njson:dumps\njson:loads")
    assert (chain.phase, chain.names) == ("access", ("json:dumps", "json:loads"))
    assert chain.make.__name__ == "AccessSession"
    with pytest.raises(KeyError):
        generation.chain("access\njson:other")
