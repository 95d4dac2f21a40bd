"""Runs content handlers: each in a task of its own, for as long as its client stays."""

from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from qanat.handlers.sessions import ContentSession

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from qanat._native import Session
    from qanat.handlers.generation import Chain

GRACE_S = 1.0
"""Seconds that handlers have to end once they were told to."""
_POLL_S = 0.02  # how often a stop looks whether last words are still unsent


class Conversation:
    """A content handler that runs."""

    def __init__(
        self, handle: Session, session: ContentSession, finish: Callable[[Conversation], None]
    ) -> None:
        self.handle = handle
        self.session = session
        self.place = handle.generation, handle.handlers.partition("\n")[2]
        self._finish = finish
        self._task: asyncio.Task[Any] | None = None
        self._is_told = False

    def start(self, handler: CoroutineType[Any, Any, Any], context: Context) -> None:
        """Run a handler in a task."""
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(handler, context=context)
        self.session.run_by(self._task)
        self._task.add_done_callback(lambda _: self._finish(self))

    def error(self) -> BaseException | None:
        """Return what the handler ended in, unless it was told to end."""
        task = self._task
        if task is None:
            return None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        # What a task of a group fails in is what the handler fails in.
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            [error] = error.exceptions
        return None if self._is_told else error

    def notice(self) -> None:
        """Something has happened to the session: look what."""
        self.session.wake()
        if self.handle.ending() is not None:
            self.stop()

    def stop(self) -> None:
        """Have the handler end."""
        if self._task is not None and not self._is_told:
            self._is_told = True
            self._task.cancel()
            asyncio.get_running_loop().call_later(GRACE_S, self.abandon)

    def abandon(self) -> None:
        """Give up a handler that did not end when it was told to."""
        if self._task is not None:
            self._task.cancel()

    @property
    def is_over(self) -> bool:
        """Whether the handler has ended and the client has what it wrote."""
        has_ended = self._task is None or self._task.done()
        return has_ended and not self.session.is_unsent()


class Conversations:
    """The content handlers that run in a gateway."""

    def __init__(
        self,
        answer: Callable[[Session, Chain, object], None],
        answer_error: Callable[[Session, Chain, int, BaseException], None],
    ) -> None:
        self._answer = answer
        self._answer_error = answer_error
        self._open: dict[int, Conversation] = {}
        self._ending: set[Conversation] = set()

    def begin(self, handle: Session, chain: Chain, context: Context) -> Conversation | None:
        """Call the handler of a session; return what runs on if it is a coroutine."""
        session = ContentSession(handle)
        conversation = Conversation(handle, session, lambda done: self._end(done, chain))
        try:
            result = context.run(chain.handlers[0], session)
        except BaseException as error:
            self._answer_error(handle, chain, 0, error)
            session.end()
            return None
        if not isinstance(result, CoroutineType):
            self._answer(handle, chain, result)
            session.end()
            return None
        self._open[handle.call] = conversation
        conversation.start(result, context)
        return conversation

    def places(self) -> list[tuple[int, str]]:
        """List the generation and the handler of each."""
        return [one.place for one in self._open.values()]

    def notice(self, call: int) -> None:
        """Something has happened to a session."""
        conversation = self._open.get(call)
        if conversation is not None:
            conversation.notice()

    async def stop(self) -> None:
        """Have all handlers end, and wait for them and their last words, a second at most."""
        stopped = [*self._open.values()]
        for conversation in stopped:
            conversation.stop()
        loop = asyncio.get_running_loop()
        end = loop.time() + GRACE_S
        # What a worker sends is not worth an event of its own: this is once, at the end.
        while loop.time() < end and not all(one.is_over for one in stopped):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)

    def _end(self, conversation: Conversation, chain: Chain) -> None:
        handle = conversation.handle
        del self._open[handle.call]
        error = conversation.error()
        if error is None:
            self._answer(handle, chain, None)
        else:
            self._answer_error(handle, chain, 0, error)
        conversation.session.end()
