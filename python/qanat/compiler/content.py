"""What answers a session: `proxy_pass`, `return` or a handler. If a server has both of the first
two, the later one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.compiler import plan
from qanat.compiler.handlers import read_handler
from qanat.compiler.inherit import Level, ListSetting, Setting
from qanat.compiler.proxy import TIMEOUT, Target, make_proxy, read_proxy_pass
from qanat.compiler.variables import template

if TYPE_CHECKING:
    from qanat.compiler.compilation import Compilation
    from qanat.config.tree import Directive


def read_return(compilation: Compilation, directive: Directive) -> plan.ReturnContent | None:
    """Read `return TEXT`."""
    return plan.ReturnContent(text=template(compilation, directive, directive.args[0]))


PROXY_PASS: Setting[Target | None] = Setting("proxy_pass", read_proxy_pass, None)
RETURN: Setting[plan.ReturnContent | None] = Setting("return", read_return, None)

HANDLER = ListSetting(("content_by_python", "content_by_python_block"), read_handler)

SETTINGS = (PROXY_PASS, RETURN, HANDLER)
DIRECTIVES = frozenset({"proxy_pass", "return", *HANDLER.names})


def make_content(compilation: Compilation, last: Directive | None, level: Level) -> plan.Content:
    """Make the content of a server; `last` is the last of its content directives."""
    if last is None:
        return plan.NoContent()
    names = level.items(HANDLER)
    if names:
        return _make_handler(compilation, last, level, names)
    if last.name == "return":
        return level.get(RETURN) or plan.NoContent()
    target = level.get(PROXY_PASS)
    if target is None:
        return plan.NoContent()
    return plan.ProxyContent(proxy=make_proxy(compilation, last, level, target))


def _make_handler(
    compilation: Compilation, last: Directive, level: Level, names: tuple[str, ...]
) -> plan.HandlerContent:
    if len(names) > 1:
        compilation.refuse(last, f'"{last.name}" directive is duplicate')
    for other in (PROXY_PASS, RETURN):
        if level.get(other) is not None:
            message = f'a server has either "content_by_python" or "{other.name}", not both'
            compilation.refuse(last, message)
    return plan.HandlerContent(handler=names[0], timeout_ms=level.get(TIMEOUT))
