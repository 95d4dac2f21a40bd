"""From the names in a configuration to functions: imports modules, and makes functions of blocks.

Each load is a generation. Sessions keep the one that they began with, so modules below
`python_path` are imported anew each time, beside those that older sessions still use.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from qanat.config.errors import ConfigError, Problem
from qanat.handlers.failures import say
from qanat.handlers.generation import Generation
from qanat.handlers.hooks import Hooks, collecting
from qanat.handlers.life import Life
from qanat.handlers.modules import Exchange, from_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType

    from qanat.compiler.handler_sources import HandlerSources, Source

    Log = Callable[[str, str], None]


_NAME_OF_LOG = "record"
_NAME = "session"


def _unheard(_level: str, _message: str) -> None:
    """Log to nobody."""


def load(
    sources: HandlerSources,
    log: Log = _unheard,
    lasting: Hooks | None = None,
    *,
    run_init: bool = True,
) -> Generation:
    """Load all handlers of a configuration. Raise `ConfigError` with all that cannot be.

    `lasting` gets the hooks of modules that are not below `python_path`: they are imported once.
    """
    hooks = Hooks()
    others = Hooks() if lasting is None else lasting
    modules = Exchange(sources.path)
    generation = Generation(Life(hooks, sources.limits, log), modules)
    loading = _Loading(sources, generation, run_init)
    try:
        with (
            from_source(),
            collecting(lambda file: hooks if file is None or modules.holds(file) else others),
        ):
            loading.run()
    except BaseException:
        modules.undo()
        raise
    return generation


@dataclass(slots=True)
class _Loading:
    """One load on its way."""

    sources: HandlerSources
    generation: Generation
    runs_init: bool
    problems: list[Problem] = field(default_factory=list)
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "__qanat__"})

    def run(self) -> None:
        """Load everything. Raise `ConfigError`."""
        for source in self.sources.init:
            with _problem_of(source, self.problems):
                self._run_init(source)
        for source in self.sources.by_name.values():
            with _problem_of(source, self.problems):
                self.generation.handlers[source.name] = self._load(source)
        if self.problems:
            raise ConfigError(self.problems)

    def _run_init(self, source: Source) -> None:
        """Run `init_by_python`; what a block defines is there for the other blocks."""
        if source.code:
            code = _compiled(source, _tree(source))
            if self.runs_init:
                exec(code, self.namespace)  # noqa: S102 - the code of the gateway's owner
            return
        handler = self._load(source, 0)
        if iscoroutinefunction(handler):
            self.generation.life.hooks.startup.append(handler)
        elif self.runs_init:
            handler()

    def _load(self, source: Source, arguments: int = 1) -> Callable[..., Any]:
        if source.code:
            return _function(source, self.namespace)
        given = self.sources.functions.get(source.name)
        if given is not None:
            return given
        handler = _imported(source.name)
        _check_arguments(handler, arguments)
        return handler


@contextmanager
def _problem_of(source: Source, problems: list[Problem]) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
        text = f"{say(error)}{place}"
        message = f'cannot load {source.phase} handler "{source.name}": {text}'
        problems.append(Problem(message, source.file, source.line))


def _imported(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    found: Any = reduce(getattr, name.split("."), importlib.import_module(module))
    if not callable(found):
        raise TypeError(f"{name} is not a function")
    handler: Callable[..., Any] = found
    return handler


def _check_arguments(handler: Callable[..., Any], count: int) -> None:
    """Raise `TypeError` if a handler cannot be called with what it will be called with."""
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return  # What is not written in Python may have none.
    try:
        signature.bind(*[None] * count)
    except TypeError as error:
        wanted = "one argument, the session" if count else "no arguments"
        raise TypeError(f"it is called with {wanted}: {error}") from None


def _tree(source: Source) -> ast.Module:
    tree = ast.parse(textwrap.dedent(source.code), source.file)
    return ast.increment_lineno(tree, source.line - 1)


def _function(source: Source, namespace: dict[str, Any]) -> Callable[..., Any]:
    """Make a function whose body is the code of a block."""
    body = _tree(source).body or [_nothing_in(source.line)]
    argument = _NAME_OF_LOG if source.phase == "log" else _NAME
    is_async = any(_awaits(statement) for statement in body)
    keyword = "async def" if is_async else "def"
    name = f"{source.phase}_block"
    module = ast.parse(f"{keyword} {name}({argument}): pass", source.file)
    function = module.body[0]
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)  # noqa: S101 - just parsed
    function.body = body
    exec(_compiled(source, module), namespace)  # noqa: S102 - the code of the gateway's owner
    made: Callable[..., Any] = namespace.pop(name)
    return made


def _nothing_in(line: int) -> ast.stmt:
    return ast.Pass(lineno=line, col_offset=0, end_lineno=line, end_col_offset=0)


def _compiled(source: Source, tree: ast.Module) -> CodeType:
    code: CodeType = compile(ast.fix_missing_locations(tree), source.file, "exec")
    return code


def _awaits(node: ast.AST) -> bool:
    if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith):
        return True
    if isinstance(node, ast.comprehension) and node.is_async:
        return True
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return False
    return any(_awaits(child) for child in ast.iter_child_nodes(node))
