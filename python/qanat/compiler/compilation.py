"""What the passes of one compile share: the problems found so far, the names known so far, and the
outside world.

A pass raises `Refused` for a directive that it cannot accept; the caller notes it with its place
and goes on, so that all problems of a configuration are reported at once.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qanat.compiler.handler_sources import HandlerSources
from qanat.config.errors import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from qanat.compiler.plan import Certificate, LogFormat, Upstream, Variable
    from qanat.compiler.rule_plan import Rule, RuleTable
    from qanat.compiler.rules import RuleSpec
    from qanat.config.paths import Paths
    from qanat.config.tree import Directive

Resolve = Callable[[str], Sequence[str]]


class Refused(Exception):  # noqa: N818 - reads as what happened to the directive
    """A directive that cannot be accepted; `at` is another directive to blame than the one being
    read."""

    def __init__(self, message: str, at: Directive | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


def resolve_host(host: str) -> Sequence[str]:
    """Look a host name up with the system's resolver; raise `OSError` if it has no address."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def host_name() -> str:
    """Name the host as `$hostname` does, in lower case."""
    return socket.gethostname().lower()


@dataclass(frozen=True, slots=True)
class World:
    """What a compile knows of its surroundings."""

    paths: Paths
    hostname: str = field(default_factory=host_name)
    resolve: Resolve = resolve_host
    functions: Mapping[str, Callable[..., object]] = field(default_factory=dict)
    """Handlers that are given as functions, by name."""


@dataclass(frozen=True, slots=True)
class Known:
    """Names that stand outside the text being compiled (a dynamic virtual server sees those of the
    configuration)."""

    variables: Container[str] = frozenset()
    formats: Container[str] = frozenset()
    upstreams: Mapping[str, str] = field(default_factory=dict)  # lower case -> as written
    rule_tables: Container[str] = frozenset()


@dataclass(slots=True)
class Compilation:
    """The state of one compile."""

    world: World
    known: Known = field(default_factory=Known)
    dynamic: bool = False
    allow_files: bool = True
    pid: Path | None = None
    """The pid file, where a log may not name it."""
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    variables: dict[str, Variable] = field(default_factory=dict)
    defined: set[str] = field(default_factory=set)
    frame_variables: set[str] = field(default_factory=set)
    """Without `frame_`; those that end in `_` are prefixes."""
    used: dict[str, list[Directive]] = field(default_factory=dict)
    formats: dict[str, LogFormat] = field(default_factory=dict)
    used_formats: dict[str, list[Directive]] = field(default_factory=dict)
    upstreams: dict[str, Upstream] = field(default_factory=dict)  # by lower-case name
    rule_tables: dict[str, RuleTable] = field(default_factory=dict)
    rules: dict[str, Rule] = field(default_factory=dict)
    rule_specs: dict[str, dict[str, RuleSpec]] = field(default_factory=dict)
    certificates: dict[str, Certificate] = field(default_factory=dict)
    pairs: dict[tuple[str, str], str] = field(default_factory=dict)
    addresses: dict[str, tuple[str, ...]] = field(default_factory=dict)
    handlers: HandlerSources = field(default_factory=HandlerSources)

    def refuse(self, directive: Directive, message: str) -> None:
        """Note an error at a directive."""
        self.problems.append(Problem(message, directive.file, directive.line))

    def note(self, directive: Directive, refused: Refused) -> None:
        """Note what a pass refused while it read a directive."""
        self.refuse(refused.at or directive, refused.message)

    def warn(self, directive: Directive, message: str) -> None:
        """Note a warning at a directive."""
        self.warnings.append(Problem(message, directive.file, directive.line, "warn"))

    def resolve(self, host: str) -> tuple[str, ...]:
        """Turn a host (literal address or name) into addresses; empty if it is not found."""
        known = self.addresses.get(host)
        if known is None:
            known = self.addresses[host] = self._look_up(host)
        return known

    def _look_up(self, host: str) -> tuple[str, ...]:
        try:
            return (str(ipaddress.ip_address(host)),)
        except ValueError:
            pass
        if not host.isascii():
            # The system's resolver is asked for bytes; Python would turn them into another name.
            return ()
        try:
            return tuple(self.world.resolve(host))
        except (OSError, UnicodeError):
            return ()
