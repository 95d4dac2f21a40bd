"""What answers a session: `proxy_pass` or `return`. If a server has both, the later one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.compiler import plan
from qanat.compiler.inherit import Level, Setting
from qanat.compiler.proxy import make_proxy, read_proxy_pass
from qanat.compiler.variables import template

if TYPE_CHECKING:
    from qanat.compiler.compilation import Compilation
    from qanat.config.tree import Directive


def read_return(compilation: Compilation, directive: Directive) -> plan.ReturnContent | None:
    """Read `return TEXT`."""
    return plan.ReturnContent(text=template(compilation, directive, directive.args[0]))


PROXY_PASS: Setting[plan.ProxyToUpstream | plan.ProxyToVariable | None] = Setting(
    "proxy_pass", read_proxy_pass, None
)
RETURN: Setting[plan.ReturnContent | None] = Setting("return", read_return, None)

SETTINGS = (PROXY_PASS, RETURN)
DIRECTIVES = frozenset({"proxy_pass", "return"})


def make_content(compilation: Compilation, last: Directive | None, level: Level) -> plan.Content:
    """Make the content of a server; `last` is the last of its content directives."""
    if last is None:
        return plan.NoContent()
    if last.name == "return":
        return level.get(RETURN) or plan.NoContent()
    target = level.get(PROXY_PASS)
    if target is None:
        return plan.NoContent()
    return plan.ProxyContent(proxy=make_proxy(compilation, last, level, target))
