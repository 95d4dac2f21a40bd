"""Calls that may block for long, in threads that nobody waits for when the process ends."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def in_daemon_thread(function: Callable[[], T]) -> T:
    """Call a function in a thread of its own; whoever is cancelled leaves it to end by itself.

    The threads of an executor are joined when the process ends, however long they block.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def call() -> None:
        try:
            settle = partial(answer.set_result, function())
        except BaseException as error:  # raised where it is waited for
            settle = partial(answer.set_exception, error)
        # The loop may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if answer.done() else settle())

    threading.Thread(target=call, name="qanat-blocking", daemon=True).start()
    return await answer
