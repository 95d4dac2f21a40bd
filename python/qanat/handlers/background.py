"""Background tasks: coroutines that go on beside the sessions, as long as their code is in use.

They belong to the load of the modules (the generation) whose code starts them, are bounded in
number, and are cancelled when that generation ends.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from qanat.handlers.failures import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class BackgroundFullError(RuntimeError):
    """As many background tasks are pending as `python_background_limit` allows.

    If no handler catches it, the session ends with status 500.
    """


class Tasks:
    """The background tasks of a generation."""

    def __init__(self, limit: int, log: Callable[[str, str], None]) -> None:
        self.limit = limit
        self.log = log
        self._pending: set[asyncio.Task[Any]] = set()
        self._has_ended = False

    def __len__(self) -> int:
        """Count those that have not ended."""
        return len(self._pending)

    def start(self, coroutine: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Start one. Raise `BackgroundFullError`, or `RuntimeError` if the generation has ended."""
        if self._has_ended or len(self._pending) >= self.limit:
            coroutine.close()
            if self._has_ended:
                raise RuntimeError("the handlers that this code belongs to are no longer in use")
            raise BackgroundFullError(
                f"{self.limit} background tasks are pending, python_background_limit allows no more"
            )
        name = name or getattr(coroutine, "__qualname__", type(coroutine).__name__)
        task = asyncio.get_running_loop().create_task(_guarded(coroutine), name=name)
        self._pending.add(task)
        task.add_done_callback(partial(self._note_end, coroutine))
        return task

    async def end(self, grace_s: float) -> None:
        """Cancel what is pending, and give it that long to end."""
        self._has_ended = True
        for task in self._pending:
            task.cancel()
        if self._pending:
            _, late = await asyncio.wait(self._pending, timeout=grace_s)
            for task in late:
                self.log("error", f"background task {task.get_name()} does not end")

    def _note_end(self, coroutine: Coroutine[Any, Any, Any], task: asyncio.Task[Any]) -> None:
        self._pending.discard(task)
        coroutine.close()  # A task that was cancelled at once has not begun it.
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.log("error", f"background task {task.get_name()} failed: {describe(error)}")


async def _guarded(coroutine: Coroutine[Any, Any, T]) -> T:
    """Keep what would end the process inside the task."""
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"{type(error).__name__} in a background task") from error


OWNER: ContextVar[Tasks | None] = ContextVar("qanat_background", default=None)
"""The tasks of the generation whose code is running."""


def background(coroutine: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
    """Run a coroutine beside the sessions, as `asyncio.create_task` does, and return its task.

    Call it in handlers, timers, startup functions and other background tasks. The task is kept as
    long as it runs; it is cancelled when the code that it belongs to is no longer used: after a
    reload, when the last session that began before it has ended, or when the gateway stops. If it
    fails, the error log gets one line, whether or not somebody awaits it. `name` is what that line
    calls it.

    Raise `BackgroundFullError` if `python_background_limit` tasks are pending, and `RuntimeError`
    elsewhere, as at the import of a module. The coroutine is closed then.
    """
    tasks = OWNER.get()
    if tasks is None:
        coroutine.close()
        raise RuntimeError(
            "background() is for code that handlers run: "
            "call it in a handler, a timer or a function of on_startup"
        )
    return tasks.start(coroutine, name)
