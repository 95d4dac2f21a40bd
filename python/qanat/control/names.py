"""How callers spell server names, and how the gateway keys them.

Comparing is done on these keys alone, so that two spellings of one thing are always the same thing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qanat.control.errors import InvalidRequest

if TYPE_CHECKING:
    from qanat.compiler.plan import Server
    from qanat.compiler.record import ServerName

LONGEST_NAME = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SYNTAX = re.compile(r"[;{}\"'\\#]")


def name_key(name: str) -> str:
    """Key a server name: quotes around it dropped, lower case, a regular expression as it is."""
    name = name.strip()
    if len(name) >= 2 and name[0] == name[-1] and name[0] in "\"'":
        name = name[1:-1]
    return name if name.startswith("~") else name.lower()


def check_name(name: str) -> None:
    """Refuse what cannot be the one name of a virtual server, or would read as configuration."""
    message = _fault(name)
    if message is not None:
        raise InvalidRequest("server_name", message)


def _fault(name: str) -> str | None:
    if not name:
        return "server_name is null!"
    if len(name.encode()) > LONGEST_NAME:
        return f"server_name is longer than {LONGEST_NAME} bytes"
    if _CONTROL.search(name):
        return "server_name has a control character"
    if any(character.isspace() for character in name):
        return "dynamic server only support one name!"
    found = None if name.startswith("~") else _SYNTAX.search(name)
    return f'invalid character "{found[0]}" in server name "{name}"' if found else None


def spelling(name: ServerName) -> str:
    """Write a compiled name the way a configuration does."""
    match name.kind:
        case "leading":
            return f"*.{name.text}"
        case "trailing":
            return f"{name.text}.*"
        case "regex":
            return f"~{name.text}"
        case "exact":
            return name.text


def spellings(server: Server) -> tuple[str, ...]:
    """List all names of a server; a server without one answers to the empty name."""
    return tuple(spelling(name) for name in server.names) or ("",)
