"""Runs handlers in the event loop: takes the calls of a batch, and answers them.

A handler that does not suspend is done within the batch, in a task that it shares with the others.
One that suspends keeps that task for itself, and the rest of the batch gets another one; so
whatever asyncio knows of the current task holds for handlers from their first line on.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import replace
from pathlib import Path
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any

from msgspec import structs

from qanat._native import Peer
from qanat.handlers.errors import (
    BufferLimitError,
    ClientClosedError,
    ClientTimeoutError,
    RejectedError,
)
from qanat.handlers.load import Generation, load

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from qanat._native import Bridge, Session
    from qanat.compiler.compile import Compiled
    from qanat.compiler.handler_sources import HandlerSources
    from qanat.handlers.load import Chain
    from qanat.handlers.sessions import Phase

_BATCH = 256
_FRAMES = 3
_GRACE_S = 1.0  # for a handler to end once it was told to
_CLIENT_STATUS: dict[type[BaseException], int] = {
    ClientClosedError: 200,
    ClientTimeoutError: 200,
    BufferLimitError: 400,
}


class Handlers:
    """The handlers of a gateway, and the tasks that run them."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._generations: dict[int, Generation] = {}
        self._last = 0
        self._is_attached = False
        self._waiting: deque[Session] = deque()
        self._has_runner = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[int, _Running] = {}

    def load(self, sources: HandlerSources) -> int:
        """Load the handlers of a configuration as a new generation; return its number.

        Raise `ConfigError`, with the handlers of before untouched.
        """
        if not sources:
            return 0
        generation = load(sources)
        self._last += 1
        self._generations[self._last] = generation
        if not self._is_attached:
            self._is_attached = True
            asyncio.get_running_loop().add_reader(self._bridge.fileno(), self._take)
        return self._last

    def put_to_use(self, compiled: Compiled) -> Compiled:
        """Load the handlers of a compiled configuration, which refers to them from then on.

        Raise as `load`.
        """
        settings = structs.replace(compiled.settings, handlers=self.load(compiled.handlers))
        return replace(compiled, settings=settings)

    def discard(self, generation: int) -> None:
        """Forget a generation that was not put to use."""
        self._generations.pop(generation, None)

    async def close(self, patience: float = 1.0) -> None:
        """Run what still waits, then cancel what does not end."""
        if not self._is_attached:
            return
        self._take()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        for running in tuple(self._running.values()):
            running.abandon()
        asyncio.get_running_loop().remove_reader(self._bridge.fileno())
        self._is_attached = False

    def watch(self, handle: Session, running: _Running) -> None:
        """Let a suspended call know what happens to its session."""
        self._running[handle.call] = running

    def unwatch(self, handle: Session) -> None:
        """Forget a call that has ended."""
        self._running.pop(handle.call, None)

    def _take(self) -> None:
        sessions, signals = self._bridge.take(_BATCH)
        for call in signals:
            running = self._running.get(call)
            if running is not None:
                running.notice()
        if sessions:
            self._waiting.extend(sessions)
            if not self._has_runner:
                self._start_runner()

    def _start_runner(self) -> None:
        self._has_runner = True
        task = asyncio.get_running_loop().create_task(self._run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        """Run what waits, up to the first handler that suspends, and that one to its end."""
        waiting = self._waiting
        self._bridge.begin_batch()
        while waiting:
            running = self.begin(waiting.popleft())
            if running is not None:
                self._bridge.end_batch()
                if waiting:
                    self._start_runner()
                else:
                    self._has_runner = False
                await running.finish()
                return
        self._bridge.end_batch()
        self._has_runner = False

    def begin(self, handle: Session) -> _Running | None:
        """Run the handlers of a call; return what is left to do if one suspends."""
        if handle.ending() is not None:
            handle.go_on()
            return None
        context = copy_context()
        while True:
            try:
                chain = self._generations[handle.generation].chain(handle.handlers)
            except KeyError as missing:
                handle.fail(f"handler {missing} is not loaded")
                return None
            session = chain.make(handle)
            result: Any = None
            for index, handler in enumerate(chain.handlers):
                try:
                    result = context.run(handler, session)
                    if type(result) is CoroutineType:
                        done, result = context.run(_first_step, result)
                        if not done:
                            return _Running(self, handle, (chain, index), session, context, result)
                except BaseException as error:
                    answer_error(handle, chain, index, error)
                    return None
            if chain.phase != "preread" or not handle.move_on():
                answer(handle, chain, result)
                return None


def _first_step(coro: CoroutineType[Any, Any, Any]) -> tuple[bool, Any]:
    """Run a coroutine to its first suspension: whether it ended, and what it gave or waits for."""
    try:
        return False, (coro, coro.send(None))
    except StopIteration as stop:
        return True, stop.value


@coroutine
def _follow(
    context: Context, coro: CoroutineType[Any, Any, Any], awaited: object, is_abandoned: list[bool]
) -> Generator[Any, Any, Any]:
    """Run the rest of a coroutine, which waits for `awaited`, as part of this task."""
    while True:
        try:
            value = yield awaited
        except BaseException as error:
            if is_abandoned:
                with suppress(RuntimeError):
                    coro.close()
                raise
            step: Callable[[Any], Any] = coro.throw
            value = error
        else:
            step = coro.send
        try:
            awaited = context.run(step, value)
        except StopIteration as stop:
            return stop.value


class _Running:
    """A call with a handler that has suspended, in a task of its own."""

    def __init__(
        self,
        handlers: Handlers,
        handle: Session,
        at: tuple[Chain, int],
        session: Phase,
        context: Context,
        suspended: tuple[CoroutineType[Any, Any, Any], object],
    ) -> None:
        self._handlers = handlers
        self._handle = handle
        self._chain, self._index = at
        self._session = session
        self._context = context
        self._coro, self._awaited = suspended
        self._task: asyncio.Task[Any] | None = None
        self._is_abandoned: list[bool] = []

    def notice(self) -> None:
        """Something has happened to the session: look what."""
        ending = self._handle.ending()
        if ending is None:
            self._session.wake()
            return
        if ending == "deadline":
            what = f"{self._chain.phase} handler {self._chain.names[self._index]}"
            places = _places(_frames_of(self._coro))
            self._handle.fail(f"{what} did not end in time, waiting{places}")
        if self._task is not None:
            self._task.cancel()
            asyncio.get_running_loop().call_later(_GRACE_S, self.abandon)

    def abandon(self) -> None:
        """Give up a handler that did not end when it was told to."""
        if self._task is not None and not self._task.done():
            self._is_abandoned.append(True)
            self._task.cancel()

    async def finish(self) -> None:
        """Run this handler to its end, then those after it, and answer."""
        self._task = asyncio.current_task()
        self._handlers.watch(self._handle, self)
        try:
            following = await self._finish()
        finally:
            self._handlers.unwatch(self._handle)
        if following is not None:
            await following.finish()

    async def _follow(self, awaited: object) -> object:
        return await _follow(self._context, self._coro, awaited, self._is_abandoned)

    async def _finish(self) -> _Running | None:
        try:
            result = await self._follow(self._awaited)
            while self._index + 1 < len(self._chain.handlers):
                self._index += 1
                result = self._context.run(self._chain.handlers[self._index], self._session)
                if type(result) is CoroutineType:
                    done, result = self._context.run(_first_step, result)
                    if not done:
                        self._coro, awaited = result
                        result = await self._follow(awaited)
        except BaseException as error:
            answer_error(self._handle, self._chain, self._index, error)
            return None
        if self._chain.phase == "preread" and self._handle.move_on():
            return self._handlers.begin(self._handle)
        answer(self._handle, self._chain, result)
        return None


def answer(handle: Session, chain: Chain, result: object) -> None:
    """Answer a call whose handlers have all ended."""
    if chain.phase != "balance" or result is None:
        handle.go_on()
        return
    if isinstance(result, str):
        try:
            result = Peer(result)
        except ValueError as error:
            answer_error(handle, chain, 0, error)
            return
    if isinstance(result, Peer):
        handle.choose(result)
    else:
        kind = type(result).__name__
        handle.fail(f"balance handler {chain.names[0]} returned {kind} instead of a peer")


def answer_error(handle: Session, chain: Chain, index: int, error: BaseException) -> None:
    """Answer a call one of whose handlers ended in an exception."""
    if isinstance(error, RejectedError):
        handle.go_on()  # Only if it was not rejected in fact: the first answer counts.
        return
    status = _CLIENT_STATUS.get(type(error))
    if status is not None:
        handle.blame_client(status, str(error))
        return
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    frames = traceback.extract_tb(error.__traceback__)
    places = [
        (frame.filename, frame.lineno or 0, frame.name)
        for frame in frames
        if frame.filename != __file__
    ]
    handle.fail(f"{chain.phase} handler {chain.names[index]} failed: {what}{_places(places)}")


def _frames_of(awaitable: object) -> list[tuple[str, int, str]]:
    """List where a suspended coroutine stands, the innermost frame last."""
    frames: list[tuple[str, int, str]] = []
    while awaitable is not None:
        frame = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "gi_frame", None)
        if frame is not None:
            frames.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "gi_yieldfrom", None)
    return frames


def _places(frames: list[tuple[str, int, str]]) -> str:
    """Say the last frames in one line, the innermost first."""
    shown = [f"{Path(file).name}:{line} in {name}" for file, line, name in frames[-_FRAMES:]]
    return f" at {', called at '.join(reversed(shown))}" if shown else ""
