"""`error_log`, `log_format` and `access_log`."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from qanat.compiler import plan
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.files import log_path
from qanat.compiler.inherit import ListSetting
from qanat.compiler.units import parse_size, parse_time_ms
from qanat.compiler.variables import template

if TYPE_CHECKING:
    from typing import Literal

    from qanat.config.tree import Directive

_LEVELS: dict[str, plan.Level] = {level: level for level in get_args(plan.Level)}
_DEBUG_MASKS = frozenset(
    f"debug_{part}" for part in ("core", "alloc", "mutex", "event", "http", "mail", "stream")
)


def read_error_log(compilation: Compilation, directive: Directive) -> plan.ErrorLog:
    """Read `error_log TARGET [LEVEL]`."""
    text, *levels = directive.args
    level: plan.Level = "error"
    for word in levels:
        if word in _LEVELS:
            level = _LEVELS[word]
        elif word in _DEBUG_MASKS:
            level = "debug"
        else:
            raise Refused(f'invalid log level "{word}"')
    return plan.ErrorLog(target=error_log_target(compilation, directive, text), level=level)


def error_log_target(compilation: Compilation, directive: Directive, text: str) -> plan.Target:
    """Read the target of an error log."""
    if text == "stderr":
        return plan.Target(kind="stderr")
    _refuse_remote(directive, text)
    return plan.Target(kind="file", path=((False, log_path(compilation, directive, text)),))


def _refuse_remote(directive: Directive, text: str) -> None:
    for kind in ("syslog:", "memory:"):
        if text.startswith(kind):
            message = f'"{kind}" in "{directive.name}" is not supported by this version of qanat'
            raise Refused(message)


def read_log_format(compilation: Compilation, directive: Directive) -> None:
    """Read `log_format NAME [escape=…] TEXT…`."""
    name, *texts = directive.args
    if name in compilation.formats:
        raise Refused(f'duplicate "log_format" name "{name}"')
    escape: Literal["default", "json", "none"] = "default"
    if texts and texts[0].startswith("escape="):
        word = texts.pop(0).removeprefix("escape=")
        if word not in _ESCAPES:
            raise Refused(f'unknown log format escaping "{word}"')
        escape = _ESCAPES[word]
    # Each by itself: a name ends where its text ends, whatever the next one begins with.
    line = tuple(part for text in texts for part in template(compilation, directive, text))
    compilation.formats[name] = plan.LogFormat(name=name, escape=escape, line=line)


_ESCAPES: dict[str, Literal["default", "json", "none"]] = {
    "default": "default",
    "json": "json",
    "none": "none",
}


def read_access_log(compilation: Compilation, directive: Directive) -> plan.AccessLog | None:
    """Read `access_log PATH FORMAT [if=…]`; None for `off`."""
    path, *rest = directive.args
    if path == "off":
        if rest:
            raise Refused(f'invalid parameter "{rest[0]}"')
        return None
    if not rest:
        raise Refused("log format is not specified")
    _refuse_remote(directive, path)
    condition: plan.Template | None = None
    for option in rest[1:]:
        if option.startswith("if="):
            condition = template(compilation, directive, option.removeprefix("if="))
        else:
            _check_buffering(option)
    names = {option.partition("=")[0] for option in rest[1:]}
    if "flush" in names and "buffer" not in names:
        raise Refused(f'no buffer is defined for access_log "{path}"')
    compilation.used_formats.setdefault(rest[0], []).append(directive)
    absolute = log_path(compilation, directive, path)
    return plan.AccessLog(
        target=plan.Target(kind="file", path=template(compilation, directive, absolute)),
        format=rest[0],
        condition=condition,
    )


def _check_buffering(option: str) -> None:
    """Check the parameters about buffering, which need no effect: lines are always written in
    batches."""
    name, _, value = option.partition("=")
    if name == "buffer":
        if not parse_size(value):
            raise Refused(f'invalid buffer size "{value}"')
    elif name == "flush":
        if not parse_time_ms(value):
            raise Refused(f'invalid flush time "{value}"')
    elif name == "gzip":
        raise Refused('parameter "gzip" is not supported by this version of qanat')
    else:
        raise Refused(f'invalid parameter "{option}"')


def check_formats(compilation: Compilation) -> None:
    """Refuse every access log whose format does not exist."""
    for name, users in compilation.used_formats.items():
        if name not in compilation.formats and name not in compilation.known.formats:
            for directive in dict.fromkeys(users):
                compilation.refuse(directive, f'unknown log format "{name}"')


ERROR_LOG = ListSetting(("error_log",), read_error_log)
ACCESS_LOG = ListSetting(("access_log",), read_access_log)

SETTINGS = (ERROR_LOG, ACCESS_LOG)


def access_logs(entries: tuple[plan.AccessLog | None, ...]) -> tuple[plan.AccessLog, ...]:
    """Collect the access logs of a level: `off` turns all of them off."""
    logs = tuple(entry for entry in entries if entry is not None)
    return logs if len(logs) == len(entries) else ()
