"""Paths in the configuration: made absolute, and for API bodies kept inside the product's own
directories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.compiler.compilation import Compilation, Refused

if TYPE_CHECKING:
    from pathlib import Path

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
    return _permitted(compilation, directive, compilation.world.paths.conf.parent / text)


def log_path(compilation: Compilation, directive: Directive, text: str) -> str:
    """Make the path of a log absolute, from the prefix."""
    if "$" in text and not compilation.allow_files:
        raise Refused(f'variables in the path of "{directive.name}" are not permitted here')
    return _permitted(compilation, directive, compilation.world.paths.prefix / text)


def _permitted(compilation: Compilation, directive: Directive, path: Path) -> str:
    if compilation.allow_files:
        return str(path)
    paths = compilation.world.paths
    real = path.resolve()
    for directory in (paths.conf.parent, paths.prefix):
        if real.is_relative_to(directory.resolve()):
            return str(path)
    raise Refused(
        f'"{directive.name}" may only name files below "{paths.conf.parent}" '
        f'or "{paths.prefix}" here'
    )
