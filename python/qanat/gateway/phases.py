"""Decorators that make a function the handler of a phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from qanat.config.tree import Directive
from qanat.gateway.place import calling_place
from qanat.handlers.hooks import name_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

S = TypeVar("S")
R = TypeVar("R")


class Block:
    """What directives, and so handlers, can be declared for."""

    def __init__(self) -> None:
        self.directives: list[Directive] = []

    def add(self, directive: Directive) -> None:
        """Put a directive into the block."""
        self.directives.append(directive)

    def extend(self, directives: Iterable[Directive]) -> None:
        """Put directives into the block."""
        self.directives.extend(directives)


class Functions:
    """The handlers of a gateway by generated names, which no module can have."""

    def __init__(self) -> None:
        self.by_name: dict[str, Callable[..., object]] = {}

    def name(self, function: Callable[..., Any]) -> str:
        """Register a function; one that is known keeps its name."""
        wanted = name = f"{name_of(function)}()"
        count = 1
        while self.by_name.setdefault(name, function) is not function:
            count += 1
            name = f"{wanted}#{count}"
        return name


class Decorator(Generic[S, R]):
    """Makes functions handlers of one phase.

    `S` is what the phase gives them, `R` what they return; plain functions and coroutines both
    work. Several handlers of a phase run in the order of their declaration, those of all servers
    first.
    """

    def __init__(self, phase: str, functions: Functions, *blocks: Block) -> None:
        self.phase = phase
        self._functions = functions
        self._blocks = blocks

    @overload
    def __call__(self, handler: Callable[[S], Awaitable[R]], /) -> Callable[[S], Awaitable[R]]: ...

    @overload
    def __call__(self, handler: Callable[[S], R], /) -> Callable[[S], R]: ...

    def __call__(self, handler: Callable[[S], Any], /) -> Callable[[S], Any]:
        """Declare a handler."""
        self._declare(handler)
        return handler

    def _declare(self, handler: object) -> None:
        if not callable(handler):  # whatever the types say
            raise TypeError(f"a handler of {self.phase} is a function, not {handler!r}")
        place = calling_place()
        name = self._functions.name(handler)
        directive = Directive(f"{self.phase}_by_python", (name,), place.file, place.line)
        for block in self._blocks:
            block.add(directive)


class ServersDecorator(Decorator[S, R]):
    """As `Decorator`, for all servers, or for some: `@gateway.preread(one, another)`."""

    @overload
    def __call__(self, handler: Callable[[S], Awaitable[R]], /) -> Callable[[S], Awaitable[R]]: ...

    @overload
    def __call__(self, handler: Callable[[S], R], /) -> Callable[[S], R]: ...

    @overload
    def __call__(self, server: Block, /, *servers: Block) -> Decorator[S, R]: ...

    def __call__(  # type: ignore[explicit-override]  # typing.override is not in Python 3.11
        self, first: Callable[[S], Any] | Block, /, *servers: Block
    ) -> Callable[[S], Any] | Decorator[S, R]:
        """Declare a handler, or choose servers for one."""
        if isinstance(first, Block):
            return Decorator(self.phase, self._functions, first, *servers)
        self._declare(first)
        return first
