"""Handlers in Python: where they are found, and which of them a server runs.

Nothing is imported here: a handler is a name, `MODULE:FUNCTION` or the `FILE:LINE` of its block,
and what it stands for is loaded by `qanat.handlers` when the configuration is put to use.
"""

from __future__ import annotations

import ast
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qanat.compiler import plan
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.handler_sources import Source
from qanat.compiler.inherit import Level, ListSetting, Setting, number, time_ms
from qanat.config.tables.handlers import BLOCK_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from qanat.config.tree import Directive


def read_handler(compilation: Compilation, directive: Directive) -> str:
    """Read a directive that names a handler or holds one; return its name."""
    source = _source(compilation, directive)
    compilation.handlers.by_name.setdefault(source.name, source)
    return source.name


def read_init(compilation: Compilation, directive: Directive) -> None:
    """Read `init_by_python`."""
    compilation.handlers.init.append(_source(compilation, directive))


def read_limit(compilation: Compilation, directive: Directive) -> None:
    """Read what the code of one load may take."""
    field, read = LIMITS[directive.name]
    given: dict[str, Any] = {field: read(compilation, directive)}
    compilation.handlers.limits = replace(compilation.handlers.limits, **given)


def _seconds(compilation: Compilation, directive: Directive) -> float:
    milliseconds = time_ms(compilation, directive)
    if not milliseconds:
        raise Refused(f'"{directive.name}" directive wants a time above 0')
    return milliseconds / 1000


LIMITS: dict[str, tuple[str, Callable[[Compilation, Directive], float]]] = {
    "python_startup_timeout": ("startup_timeout_s", _seconds),
    "python_shutdown_timeout": ("shutdown_timeout_s", _seconds),
    "python_background_limit": ("background", number),
}
"""Directives, and the fields of `Limits` that they give."""


def read_path(compilation: Compilation, directive: Directive) -> None:
    """Read `python_path`."""
    base = compilation.world.paths.conf.parent
    compilation.handlers.path.append(base / directive.args[0])


def _source(compilation: Compilation, directive: Directive) -> Source:
    phase = directive.name.partition("_by_")[0]
    text = directive.args[0]
    if directive.name.endswith(BLOCK_SUFFIX):
        _check_code(directive, text)
        return Source(directive.origin, phase, text or "pass", directive.file, directive.line)
    if text in compilation.world.functions:
        return Source(text, phase, "", directive.file, directive.line)
    module, colon, function = text.partition(":")
    names = [*module.split("."), *function.split(".")]
    if not colon or not all(name.isidentifier() for name in names):
        raise Refused(f'"{directive.name}" wants MODULE:FUNCTION, not "{text}"')
    return Source(text, phase, "", directive.file, directive.line)


def _check_code(directive: Directive, text: str) -> None:
    try:
        ast.parse(textwrap.dedent(text))
    except SyntaxError as error:
        line = directive.line + (error.lineno or 1) - 1
        raise Refused(f'{error.msg} in line {line} of "{directive.name}"') from None


def _handlers(phase: str) -> ListSetting[str]:
    name = f"{phase}_by_python"
    return ListSetting((name, f"{name}_block"), read_handler)


ACCESS = _handlers("access")
CLIENT_HELLO = _handlers("ssl_client_hello")
CERTIFICATE = _handlers("ssl_certificate")
PREREAD = _handlers("preread")
VERIFY = _handlers("proxy_ssl_verify")
LOG = _handlers("log")
TIMEOUT = Setting("python_timeout", time_ms, 5000)

_ADDED = (ACCESS, CLIENT_HELLO, CERTIFICATE, PREREAD, VERIFY, LOG)

SETTINGS = (*_ADDED, TIMEOUT)


def add_to_outer(outer: Level, values: dict[str, object]) -> None:
    """Put the handlers of the level around a server before its own; other lists replace theirs."""
    for setting in _ADDED:
        own = values.get(setting.name)
        if isinstance(own, list):
            values[setting.name] = [*(outer.items(setting) or ()), *own]


def make_handlers(level: Level) -> plan.Handlers:
    """Make the handlers of a server."""
    return plan.Handlers(
        access=level.items(ACCESS) or (),
        client_hello=level.items(CLIENT_HELLO) or (),
        certificate=level.items(CERTIFICATE) or (),
        preread=level.items(PREREAD) or (),
        verify=level.items(VERIFY) or (),
        log=level.items(LOG) or (),
        timeout_ms=level.get(TIMEOUT),
    )
