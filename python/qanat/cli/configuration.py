"""Loads a whole configuration: main file, control file, compiled settings and plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from qanat.compiler.compile import Compiled, compile_config
from qanat.compiler.control import control_file
from qanat.config.parse import parse_file
from qanat.config.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qanat.cli.lifecycle import Lifecycle
    from qanat.config.errors import Problem
    from qanat.config.tree import Tree
    from qanat.handlers.hooks import Hooks


class Declared(Protocol):
    """What a program declares, with a file or without one."""

    hooks: Hooks

    def read(self, paths: Paths) -> Tree:
        """Make the whole tree. Raise `ConfigError`."""

    def named_functions(self) -> Mapping[str, Callable[..., object]]:
        """Give the handlers by the names that the tree has for them."""

    def serving(self, lifecycle: Lifecycle) -> None:
        """Note that what was declared is served now."""


@dataclass(frozen=True, slots=True)
class Source:
    """Which configuration to load; kept for reloads."""

    paths: Paths
    global_directives: str = ""
    error_log: str | None = None
    """The log to use if the configuration names none."""
    workers: int | None = None
    """What `worker_processes` says, whatever the file has."""
    declared: Declared | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be run."""

    tree: Tree
    control: Tree | None
    compiled: Compiled

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """All warnings, each once."""
        trees = (self.tree, self.control) if self.control else (self.tree,)
        found = [warning for tree in trees for warning in tree.warnings]
        return tuple(dict.fromkeys((*found, *self.compiled.warnings)))


def load_configuration(source: Source) -> Loaded:
    """Parse and compile. Raise `ConfigError` with all problems."""
    declared = source.declared
    if declared is None:
        tree = parse_file(source.paths, source.global_directives)
    else:
        tree = declared.read(source.paths)
    control = None
    path = control_file(tree, source.paths)
    if path is not None:
        control = parse_file(Paths(prefix=source.paths.prefix, conf=path))
    compiled = compile_config(
        tree,
        source.paths,
        control,
        error_log=source.error_log,
        functions=None if declared is None else declared.named_functions(),
    )
    if source.workers is not None:
        process = replace(compiled.process, worker_processes=source.workers)
        compiled = replace(compiled, process=process)
    return Loaded(tree, control, compiled)


def pid_path(tree: Tree, paths: Paths) -> Path:
    """Name the pid file of a configuration without compiling it."""
    for directive in tree.find("pid"):
        return paths.in_prefix(directive.args[0])
    return paths.in_prefix("logs/nginx.pid")


def log_paths(loaded: Loaded) -> tuple[Path, ...]:
    """List the log files with a fixed name."""
    compiled = loaded.compiled
    targets = [log.target for log in compiled.settings.error_log]
    for server in compiled.objects.servers:
        targets += [log.target for log in server.error_log or ()]
        targets += [log.target for log in server.access_log]
    return tuple(
        Path("".join(text for _, text in target.path))
        for target in dict.fromkeys(targets)
        if target.kind == "file" and not any(is_variable for is_variable, _ in target.path)
    )


def make_log_directories(loaded: Loaded, prefix: Path) -> None:
    """Make missing directories of logs below the prefix; elsewhere the missing one is an error."""
    for path in log_paths(loaded):
        if path.is_relative_to(prefix):
            path.parent.mkdir(parents=True, exist_ok=True)
