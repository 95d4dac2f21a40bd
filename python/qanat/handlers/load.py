"""From the names in a configuration to functions: imports modules, and makes functions of blocks.

Each load is a generation. Sessions keep the one that they began with, so modules below
`python_path` are imported anew each time, beside those that older sessions still use.
"""

from __future__ import annotations

import ast
import importlib
import sys
import textwrap
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qanat.config.errors import ConfigError, Problem
from qanat.handlers.sessions import CLASSES, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType

    from qanat.compiler.handler_sources import HandlerSources, Source


_NAME_OF_LOG = "record"
_NAME = "session"


@dataclass(frozen=True, slots=True)
class Chain:
    """Handlers of one phase, in order, with their names, and the class of what they are given."""

    handlers: tuple[Callable[[Any], Any], ...]
    names: tuple[str, ...]
    phase: str
    make: type[Phase]


@dataclass(slots=True)
class Generation:
    """The handlers of one load, by name."""

    handlers: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)

    def chain(self, key: str) -> Chain:
        """Look up handlers by their phase and their names, one a line. Raise `KeyError`."""
        chain = self.chains.get(key)
        if chain is None:
            phase, *names = key.split("\n")
            handlers = tuple(self.handlers[name] for name in names)
            chain = self.chains[key] = Chain(handlers, tuple(names), phase, CLASSES[phase])
        return chain


def load(sources: HandlerSources, *, run_init: bool = True) -> Generation:
    """Load all handlers of a configuration. Raise `ConfigError` with all that cannot be."""
    generation = Generation()
    problems: list[Problem] = []
    namespace: dict[str, Any] = {"__name__": "__qanat__"}
    with _fresh_modules(sources.path):
        for source in sources.init:
            with _problem_of(source, problems):
                _run_init(source, namespace, runs=run_init)
        for source in sources.by_name.values():
            with _problem_of(source, problems):
                generation.handlers[source.name] = _load(source, namespace)
        if problems:
            raise ConfigError(problems)
    return generation


@contextmanager
def _fresh_modules(path: list[Path]) -> Iterator[None]:
    """Import modules below `path` anew; if that fails, those of before stay."""
    places = [str(place.resolve()) for place in path]
    kept = {name: module for name, module in sys.modules.items() if _is_below(module, places)}
    for name in kept:
        del sys.modules[name]
    sys.path[:] = [*places, *(place for place in sys.path if place not in places)]
    importlib.invalidate_caches()
    try:
        yield
    except BaseException:
        sys.modules.update(kept)
        raise


def _is_below(module: object, places: list[str]) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and any(Path(file).is_relative_to(place) for place in places)


@contextmanager
def _problem_of(source: Source, problems: list[Problem]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 else ""
        text = f"{type(error).__name__}: {error}{place}"
        message = f'cannot load {source.phase} handler "{source.name}": {text}'
        problems.append(Problem(message, source.file, source.line))


def _run_init(source: Source, namespace: dict[str, Any], *, runs: bool) -> None:
    """Run `init_by_python`; what a block defines is there for the other blocks."""
    if source.code:
        code = _compiled(source, _tree(source))
        if runs:
            exec(code, namespace)  # noqa: S102 - the code of the gateway's owner
        return
    handler = _load(source, namespace)
    if runs:
        handler()


def _load(source: Source, namespace: dict[str, Any]) -> Callable[..., Any]:
    if source.code:
        return _function(source, namespace)
    module, _, name = source.name.partition(":")
    found: Any = reduce(getattr, name.split("."), importlib.import_module(module))
    if not callable(found):
        raise TypeError(f"{name} is not a function")
    handler: Callable[..., Any] = found
    return handler


def _tree(source: Source) -> ast.Module:
    tree = ast.parse(textwrap.dedent(source.code), source.file)
    return ast.increment_lineno(tree, source.line - 1)


def _function(source: Source, namespace: dict[str, Any]) -> Callable[..., Any]:
    """Make a function whose body is the code of a block."""
    body = _tree(source).body or [ast.Pass(lineno=source.line, col_offset=0)]
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


def _compiled(source: Source, tree: ast.Module) -> CodeType:
    code: CodeType = compile(ast.fix_missing_locations(tree), source.file, "exec")
    return code


def _awaits(node: ast.AST) -> bool:
    if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith):
        return True
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        return False
    return any(_awaits(child) for child in ast.iter_child_nodes(node))
