"""What modules ask for while they are loaded: functions at the start and at the end, and timers."""

from __future__ import annotations

import math
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Hook = Callable[[], Awaitable[object] | object]
    Choose = Callable[[str | None], "Hooks"]

HookT = TypeVar("HookT", bound="Callable[[], Awaitable[object] | object]")
TimerT = TypeVar("TimerT", bound="Callable[[], Awaitable[object] | object]")


@dataclass(frozen=True, slots=True)
class Timer:
    """A function that is run every now and then; times are in seconds."""

    function: Hook
    seconds: float
    jitter: float


@dataclass(slots=True)
class Hooks:
    """Functions for the start and the end, in the order of their declaration, and timers."""

    startup: list[Hook] = field(default_factory=list)
    shutdown: list[Hook] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Tell whether there is anything."""
        return bool(self.startup or self.shutdown or self.timers)


_LOADING: ContextVar[Choose | None] = ContextVar("qanat_loading", default=None)


@contextmanager
def collecting(choose: Choose) -> Iterator[None]:
    """Collect what modules ask for; `choose` says where what a file declares belongs."""
    token = _LOADING.set(choose)
    try:
        yield
    finally:
        _LOADING.reset(token)


def on_startup(function: HookT) -> HookT:
    """Have a function, or coroutine function, run before the loaded handlers are put to use.

    For the top level of a module that handlers are loaded from, as a decorator. All such functions
    run in order, at the start of the gateway and at each load of the module; together they have
    `python_startup_timeout`. If one fails, the start, or the reload, is refused.

    Raise `RuntimeError` outside of a load.
    """
    _hooks("on_startup").startup.append(function)
    return function


def on_shutdown(function: HookT) -> HookT:
    """Have a function, or coroutine function, run when the loaded handlers are no longer used.

    That is when the gateway stops, or, after a reload, when the last session that began before it
    has ended. All such functions run in the reverse order, within `python_shutdown_timeout`; one
    that fails is logged. Background tasks are cancelled after them.

    Raise `RuntimeError` outside of a load.
    """
    _hooks("on_shutdown").shutdown.append(function)
    return function


def every(seconds: float, jitter: float = 0.0) -> Callable[[TimerT], TimerT]:
    """Have a function, or coroutine function, run every so many seconds.

    The first run is one interval after the handlers were put to use. Each pause is `seconds`, and
    up to `jitter` seconds more, from the end of one run to the beginning of the next, so that the
    runs of a timer never overlap. A run that fails is logged, and the timer goes on. After a reload
    only the timers of the new load run.

    Raise `ValueError` for times that make no sense, and `RuntimeError` outside of a load.
    """
    check_interval(seconds, jitter)
    hooks = _hooks("every")

    def declare(function: TimerT) -> TimerT:
        hooks.timers.append(Timer(function, seconds, jitter))
        return function

    return declare


def check_interval(seconds: float, jitter: float) -> None:
    """Raise `ValueError` for times that make no sense."""
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"every() wants a number of seconds above 0, not {seconds}")
    if not (math.isfinite(jitter) and jitter >= 0):
        raise ValueError(f"jitter is a number of seconds, not {jitter}")


def _hooks(name: str) -> Hooks:
    choose = _LOADING.get()
    if choose is None:
        raise RuntimeError(
            f"{name}() is for the top level of a module that handlers are loaded from; "
            f"without a configuration file it is gateway.{name}()"
        )
    declaring: dict[str, Any] = sys._getframe(2).f_globals
    return choose(declaring.get("__file__"))


def name_of(function: Hook) -> str:
    """Name a function as the log does: `MODULE:NAME`."""
    name = getattr(function, "__qualname__", None) or repr(function)
    module = getattr(function, "__module__", None)
    return f"{module}:{name}" if module else name
