"""`allow` and `deny`."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

from qanat.compiler import plan
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.inherit import ListSetting
from qanat.compiler.units import parse_number

if TYPE_CHECKING:
    from qanat.config.tree import Directive


def read_rule(compilation: Compilation, directive: Directive) -> plan.AccessRule:
    """Read `allow` or `deny`."""
    text = directive.args[0]
    network, exact = parse_network(text)
    if network is None:
        raise Refused(f'invalid parameter "{text}"')
    if not exact:
        compilation.warn(directive, f"low address bits of {text} are meaningless")
    return plan.AccessRule(allow=directive.name == "allow", network=network)


@lru_cache(maxsize=4096)
def parse_network(text: str) -> tuple[str | None, bool]:
    """Read `all`, `unix:`, an address or a network; also tell whether its low bits are clear."""
    if text in {"all", "unix:"}:
        return text, True
    _, slash, bits = text.partition("/")
    if slash and parse_number(bits) is None:
        return None, True
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        return None, True
    return str(interface.network), not slash or interface.ip == interface.network.network_address


RULES = ListSetting(("allow", "deny"), read_rule)

SETTINGS = (RULES,)
