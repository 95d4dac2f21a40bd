"""Paths in the configuration: made absolute, and for API bodies kept inside the product's own
directories."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from qanat.compiler.compilation import Compilation, Refused

if TYPE_CHECKING:
    from qanat.config.tree import Directive


def pem_source(compilation: Compilation, directive: Directive) -> str:
    """Read the argument that names a certificate or key: `data:` text, or a path made absolute."""
    text = directive.args[0]
    if text.startswith("data:"):
        return text
    if text.startswith(("engine:", "store:")) or "$" in text:
        kind = "variables" if "$" in text else f'"{text.partition(":")[0]}:"'
        message = f'{kind} in "{directive.name}" are not supported by this version of qanat'
        raise Refused(message)
    return _permitted(compilation, directive, _absolute(compilation.world.paths.conf.parent, text))


def named_file(compilation: Compilation, directive: Directive) -> str:
    """Make the path that the argument names absolute, from the directory of the configuration."""
    path = _absolute(compilation.world.paths.conf.parent, directive.args[0])
    return _permitted(compilation, directive, path)


def log_path(compilation: Compilation, directive: Directive, text: str) -> str:
    """Make the path of a log absolute, from the prefix."""
    if "$" in text and not compilation.allow_files:
        raise Refused(f'variables in the path of "{directive.name}" are not permitted here')
    path = _absolute(compilation.world.paths.prefix, text)
    pid = compilation.pid
    if pid is not None and Path(path).resolve() == pid.resolve():
        raise Refused(f'"{directive.name}" may not name the pid file')
    # A log is written to: elsewhere it could end up in the configuration, a key or the state.
    return _permitted(compilation, directive, path, compilation.world.paths.prefix / "logs")


@lru_cache(maxsize=4096)
def _absolute(base: Path, text: str) -> str:
    return str(base / text)


def _permitted(
    compilation: Compilation, directive: Directive, path: str, *directories: Path
) -> str:
    """Give the path back if it lies below one of the directories, or anything may be named.

    Without directories it is the product's own that count. Raise `Refused`.
    """
    if compilation.allow_files:
        return path
    paths = compilation.world.paths
    allowed = directories or (paths.conf.parent, paths.prefix)
    real = Path(path).resolve()
    if any(real.is_relative_to(directory.resolve()) for directory in allowed):
        return path
    places = " or ".join(f'"{directory}"' for directory in allowed)
    raise Refused(f'"{directive.name}" may only name files below {places} here')
