"""Runs handlers in the event loop: takes the calls of a batch, and answers them.

A handler that does not suspend is done within the batch. One that suspends goes on in a task of its
own, see `task.py`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Any

from qanat._native import FrameError
from qanat.handlers.answers import answer
from qanat.handlers.content import Conversations
from qanat.handlers.errors import (
    BufferLimitError,
    ClientClosedError,
    ClientTimeoutError,
    HandshakeError,
    RejectedError,
)
from qanat.handlers.failures import describe, waiting_places
from qanat.handlers.task import SpareTask

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from contextvars import Context

    from qanat._native import Bridge, Session
    from qanat.handlers.generation import Chain, Generation
    from qanat.handlers.sessions import Phase

_BATCH = 256
_LEADING = frozenset({"preread", "ssl_client_hello"})
"""Phases that another one may follow in the same call."""
_GRACE_S = 1.0  # for a handler to end once it was told to
_CLIENT_STATUS: dict[type[BaseException], int] = {
    ClientClosedError: 200,
    ClientTimeoutError: 200,
    BufferLimitError: 400,
    FrameError: 400,
    HandshakeError: 500,
}


class Calls:
    """Runs the calls of a gateway's handlers, from the first `attach` to `close`."""

    def __init__(self, bridge: Bridge, generations: Mapping[int, Generation]) -> None:
        self._bridge = bridge
        self._generations = generations
        self._is_attached = False
        self._spare: SpareTask | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[int, _Running] = {}
        self._conversations = Conversations(answer, answer_error)

    def attach(self) -> None:
        """Take calls from now on."""
        if not self._is_attached:
            self._is_attached = True
            asyncio.get_running_loop().add_reader(self._bridge.fileno(), self._take)

    async def stop_content(self) -> None:
        """Have content handlers end, and wait for them and their last words: a second at most."""
        await self._conversations.stop()

    async def close(self, patience: float = 1.0) -> None:
        """Run what still waits, then cancel what does not end."""
        if not self._is_attached:
            return
        loop = asyncio.get_running_loop()
        loop.call_soon(self._take)
        await asyncio.sleep(0)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        for running in tuple(self._running.values()):
            running.abandon()
        if self._spare is not None:
            self._spare.task.cancel()
        loop.remove_reader(self._bridge.fileno())
        self._is_attached = False

    def open_calls(self) -> Counter[tuple[int, str]]:
        """Count the calls that wait for something, by generation and handler."""
        places = [running.place for running in self._running.values()]
        return Counter([*places, *self._conversations.places()])

    def watch(self, handle: Session, running: _Running) -> None:
        """Let a suspended call know what happens to its session."""
        self._running[handle.call] = running

    def unwatch(self, handle: Session) -> None:
        """Forget a call that has ended."""
        self._running.pop(handle.call, None)

    def gather_answers(self) -> None:
        """Let the answers of this turn of the loop reach the workers together."""
        self._bridge.begin_batch()
        asyncio.get_running_loop().call_soon(self._bridge.end_batch)

    def _take(self) -> None:
        sessions, signals = self._bridge.take(_BATCH)
        for call in signals:
            running = self._running.get(call)
            if running is not None:
                running.notice()
            else:
                self._conversations.notice(call)
        self._bridge.resume()
        if sessions:
            self._run(sessions)

    def _run(self, sessions: list[Session]) -> None:
        """Run the handlers of a batch, each as far as its first suspension."""
        spare = self._spare_task()
        self._bridge.begin_batch()
        spare.enter()
        try:
            for handle in sessions:
                running = self.begin(handle)
                if running is None and spare.is_fresh():
                    continue
                spare.leave()
                if running is not None:
                    self._go_on(running, spare)
                spare = self._spare_task()
                spare.enter()
        finally:
            spare.leave()
            self._bridge.end_batch()

    def _spare_task(self) -> SpareTask:
        if self._spare is None or not self._spare.is_fresh():
            self._spare = SpareTask(asyncio.get_running_loop())
        return self._spare

    def _go_on(self, running: _Running, spare: SpareTask) -> None:
        """Have a handler that has suspended go on in the task that it has begun in."""
        running.watch(spare.task)
        task = spare.keep(running.finish)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def begin(self, handle: Session) -> _Running | None:
        """Run the handlers of a call; return what is left to do if one suspends."""
        generation = self._generations.get(handle.generation)
        if generation is None or handle.ending() is not None:
            _decline(handle)
            return None
        context = generation.life.context.copy()
        while True:
            chain = _find(generation, handle)
            if chain is None:
                return None
            if chain.phase == "content" and handle.datagrams is None:
                self._conversations.begin(handle, chain, context)
                return None
            session = chain.make(handle)
            result: Any = None
            for index, handler in enumerate(chain.handlers):
                try:
                    given = context.run(_start, handler, session)
                except BaseException as error:
                    answer_error(handle, chain, index, error)
                    return None
                if type(given) is _Suspended:
                    at = (chain, index, result)
                    return _Running(self, handle, at, session, context, given)
                result = result if given is None else given
            if chain.phase not in _LEADING or not handle.move_on():
                answer(handle, chain, result)
                return None


def _decline(handle: Session) -> None:
    if handle.ending() is not None:
        handle.go_on()
    else:
        handle.fail("the handlers of this session are no longer loaded")


def _find(generation: Generation, handle: Session) -> Chain | None:
    try:
        return generation.chain(handle.handlers)
    except KeyError as missing:
        handle.fail(f"handler {missing} is not loaded")
        return None


class _Suspended:
    """A coroutine at its first suspension, and what it waits for."""

    __slots__ = ("awaited", "coro")

    def __init__(self, coro: CoroutineType[Any, Any, Any], awaited: object) -> None:
        self.coro = coro
        self.awaited = awaited


def _start(handler: Callable[[Any], Any], session: Phase) -> object:
    """Run a handler to its end, or to its first suspension."""
    result: object = handler(session)
    if type(result) is not CoroutineType:
        return result
    try:
        return _Suspended(result, result.send(None))
    except StopIteration as stop:
        return stop.value


@coroutine
def _follow(
    context: Context,
    suspended: _Suspended,
    cancelled: asyncio.CancelledError | None,
    is_abandoned: list[bool],
) -> Generator[Any, Any, Any]:
    """Run the rest of a coroutine as part of this task, which may have been cancelled already."""
    coro, awaited = suspended.coro, suspended.awaited
    while True:
        try:
            if cancelled is not None:
                error, cancelled = cancelled, None
                if isinstance(awaited, asyncio.Future):
                    awaited.cancel()
                raise error
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
        calls: Calls,
        handle: Session,
        at: tuple[Chain, int, object],
        session: Phase,
        context: Context,
        suspended: _Suspended,
    ) -> None:
        self._calls = calls
        self._handle = handle
        self._chain, self._index, self._result = at
        self._session = session
        self._context = context
        self._suspended = suspended
        self._task: asyncio.Task[Any] | None = None
        self._is_abandoned: list[bool] = []

    @property
    def place(self) -> tuple[int, str]:
        """The generation, and the handler that is running."""
        return self._handle.generation, self._chain.names[self._index]

    def notice(self) -> None:
        """Something has happened to the session: look what."""
        ending = self._handle.ending()
        if ending is None:
            self._session.wake()
            return
        if ending == "deadline":
            what = f"{self._chain.phase} handler {self._chain.names[self._index]}"
            places = waiting_places(self._suspended.coro)
            self._handle.fail(f"{what} did not end in time, waiting{places}")
        if self._task is not None:
            self._task.cancel()
            asyncio.get_running_loop().call_later(_GRACE_S, self.abandon)

    def abandon(self) -> None:
        """Give up a handler that did not end when it was told to."""
        if self._task is not None and not self._task.done():
            self._is_abandoned.append(True)
            self._task.cancel()

    def watch(self, task: asyncio.Task[Any] | None) -> None:
        """Go on in `task`, and be told from now on what happens to the session."""
        self._task = task
        self._calls.watch(self._handle, self)

    async def finish(self, cancelled: asyncio.CancelledError | None = None) -> None:
        """Run this handler to its end, then those after it, and answer."""
        try:
            following = await self._finish(cancelled)
        finally:
            self._calls.unwatch(self._handle)
        if following is not None:
            following.watch(self._task)
            await following.finish()

    async def _finish(self, cancelled: asyncio.CancelledError | None) -> _Running | None:
        chain, context = self._chain, self._context
        try:
            given = await _follow(context, self._suspended, cancelled, self._is_abandoned)
            result = self._result if given is None else given
            while self._index + 1 < len(chain.handlers):
                self._index += 1
                given = context.run(_start, chain.handlers[self._index], self._session)
                if type(given) is _Suspended:
                    self._suspended = given
                    given = await _follow(context, given, None, self._is_abandoned)
                result = result if given is None else given
        except BaseException as error:
            answer_error(self._handle, chain, self._index, error)
            return None
        self._calls.gather_answers()
        if chain.phase in _LEADING and self._handle.move_on():
            return self._calls.begin(self._handle)
        answer(self._handle, chain, result)
        return None


def answer_error(handle: Session, chain: Chain, index: int, error: BaseException) -> None:
    """Answer a call one of whose handlers ended in an exception."""
    if isinstance(error, RejectedError):
        handle.go_on()  # Only if it was not rejected in fact: the first answer counts.
        return
    status = _CLIENT_STATUS.get(type(error))
    if status is not None:
        handle.blame_client(status, str(error))
        return
    handle.fail(f"{chain.phase} handler {chain.names[index]} failed: {describe(error)}")
