"""From rules as the configuration and the API describe them to plan objects.

A description is checked whole: all that is wrong with it is reported at once, by field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec

from qanat.compiler.access import parse_network
from qanat.compiler.compilation import Compilation, Refused
from qanat.compiler.record import ServerName
from qanat.compiler.rule_plan import PassTo, PortRange, Reject, Rule, RuleAction
from qanat.compiler.upstream import upstream_of
from qanat.compiler.variables import hostname_kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from qanat.config.tree import Directive

    T = TypeVar("T")

DEFAULT_PRIORITY = 100
LARGEST_PRIORITY = 65535
RESERVED = "default"
"""What `$rule` shows when no rule matched: no rule can be called so."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_MOST_VALUES = 1024
_LONGEST_NAME = 255
_LONGEST_BYTES = 255
_LONGEST_NOTE = 1024
_LARGEST_PORT = 65535
_STATUSES = range(400, 600)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|[nrt\\]|.?)", re.DOTALL)
_ESCAPED = {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\"}


_Pass = Annotated[
    str | None, msgspec.Meta(description="Upstream or address that sessions are relayed to.")
]
_Status = Annotated[
    int | None, msgspec.Meta(description="Status that sessions are ended with, 400 to 599.")
]


class ActionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What happens to a session: one of the two."""

    pass_: _Pass = msgspec.field(default=None, name="pass")
    reject: _Status = None


class RuleSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A rule: conditions that must all hold, each with alternatives, and one of `pass` and
    `reject`."""

    priority: Annotated[
        int, msgspec.Meta(description="Rules are asked in this order, the lowest first.")
    ] = DEFAULT_PRIORITY
    source: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="Networks of clients, or `unix:`.", examples=["10.0.0.0/8", "2001:db8::/32"]
        ),
    ] = ()
    port: Annotated[
        tuple[int | str, ...],
        msgspec.Meta(
            description="Ports that clients address, or ranges of them.",
            examples=[443, "8000-8100"],
        ),
    ] = ()
    sni: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="Names in the ClientHello.",
            examples=["example.com", "*.example.com", ".example.com", "www.*", "~^a[0-9]+"],
        ),
    ] = ()
    alpn: Annotated[
        tuple[str, ...],
        msgspec.Meta(description="Protocols that the client offers.", examples=["h2"]),
    ] = ()
    starts_with: Annotated[
        tuple[str, ...],
        msgspec.Meta(
            description="First bytes; those that are no text are escaped.",
            examples=["SSH-", "\\x16\\x03"],
        ),
    ] = ()
    tls: Annotated[
        bool | None, msgspec.Meta(description="Whether the client begins with a ClientHello.")
    ] = None
    pass_: _Pass = msgspec.field(default=None, name="pass")
    reject: _Status = None
    note: Annotated[str, msgspec.Meta(description="For people.")] = ""

    @property
    def action(self) -> ActionSpec:
        """What happens to a session that matches."""
        return ActionSpec(self.pass_, self.reject)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a field of a description."""

    field: str
    message: str


class RuleRefused(Exception):  # noqa: N818 - reads as what happened to the rule
    """A description that cannot be compiled; `faults` are all that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(fault.message for fault in self.faults))


@dataclass(frozen=True, slots=True)
class Place:
    """Which rule a description is of: its table, its name, and where it stands there."""

    table: str
    name: str
    position: int
    origin: Directive


def name_fault(kind: str, name: str) -> str | None:
    """Say what is wrong with the name of a table or a rule; None if nothing is."""
    if _NAME.fullmatch(name) is None:
        return (
            f'invalid name "{name}" of {kind}: a letter or "_", then at most 63 letters, digits '
            'or any of "_.-"'
        )
    if name == RESERVED and kind == "a rule":
        return f'a rule cannot be called "{RESERVED}", which is what $rule shows if none matches'
    return None


def compile_rule(compilation: Compilation, place: Place, spec: RuleSpec) -> Rule:
    """Compile a rule. Raise `RuleRefused` with all that is wrong with it."""
    reader = _Reader()
    fault = name_fault("a rule", place.name)
    if fault is not None:
        reader.note("name", fault)
    if not 0 <= spec.priority <= LARGEST_PRIORITY:
        reader.note("priority", f'invalid priority "{spec.priority}", 0 to {LARGEST_PRIORITY}')
    if len(spec.note) > _LONGEST_NOTE:
        reader.note("note", f"the note is longer than {_LONGEST_NOTE} characters")
    names = reader.read("sni", spec.sni, _names)
    rule = Rule(
        id=f"{place.table}/{place.name}",
        priority=spec.priority,
        position=place.position,
        source=reader.read("source", spec.source, _network),
        port=reader.read("port", spec.port, _ports),
        sni=tuple(dict.fromkeys(name for group in names for name in group)),
        alpn=reader.read("alpn", spec.alpn, _protocol),
        starts_with=reader.read("starts_with", spec.starts_with, first_bytes),
        tls=spec.tls,
        action=reader.action(compilation, place.origin, spec.action),
        origin=place.origin.origin,
    )
    reader.finish()
    return rule


def compile_action(compilation: Compilation, origin: Directive, spec: ActionSpec) -> RuleAction:
    """Compile the default of a table. Raise `RuleRefused`."""
    reader = _Reader()
    action = reader.action(compilation, origin, spec)
    reader.finish()
    return action


def first_bytes(text: str) -> bytes:
    """Read first bytes written as text with escapes. Raise `Refused`."""
    pieces: list[bytes] = []
    done = 0
    for found in _ESCAPE.finditer(text):
        code = found[1]
        if code[:1] == "x" and len(code) > 1:
            piece = bytes.fromhex(code[1:])
        elif code in _ESCAPED:
            piece = _ESCAPED[code]
        else:
            raise Refused(
                f'invalid escape "{found[0]}" in "{text}": there are \\xHH, \\r, \\n, \\t and \\\\'
            )
        pieces += [text[done : found.start()].encode(), piece]
        done = found.end()
    pieces.append(text[done:].encode())
    value = b"".join(pieces)
    if not 1 <= len(value) <= _LONGEST_BYTES:
        raise Refused(f'first bytes "{text[:64]}" have to be 1 to {_LONGEST_BYTES}')
    return value


class _Reader:
    """Reads the values of fields and notes what is wrong with them."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def note(self, field: str, message: str) -> None:
        self._faults.append(Fault(field, message))

    def read(
        self, field: str, values: tuple[object, ...], read: Callable[[str], T]
    ) -> tuple[T, ...]:
        if len(values) > _MOST_VALUES:
            self.note(field, f"more than {_MOST_VALUES} values of {field}")
            return ()
        found: dict[T, None] = {}
        for position, value in enumerate(values):
            try:
                found[read(str(value))] = None
            except (Refused, UnicodeEncodeError) as refused:
                self.note(f"{field}[{position}]", str(refused))
        return tuple(found)

    def action(self, compilation: Compilation, origin: Directive, spec: ActionSpec) -> RuleAction:
        if (spec.pass_ is None) == (spec.reject is None):
            self.note("pass", 'one of "pass" and "reject" is needed')
        elif spec.reject is not None:
            if spec.reject not in _STATUSES:
                self.note("reject", f'invalid status "{spec.reject}", 400 to 599')
            return Reject(status=spec.reject)
        elif spec.pass_ is not None:
            try:
                return PassTo(upstream=_upstream(compilation, origin, spec.pass_))
            except Refused as refused:
                self.note("pass", refused.message)
        return Reject()

    def finish(self) -> None:
        if self._faults:
            raise RuleRefused(self._faults)


def _upstream(compilation: Compilation, origin: Directive, text: str) -> str:
    if not text or any(character.isspace() or character in "$;{}" for character in text):
        raise Refused(f'"{text}" is neither an upstream nor an address')
    known = text.lower() in compilation.upstreams or text.lower() in compilation.known.upstreams
    if ":" not in text and not known:
        raise Refused(f'no upstream "{text}", and an address needs a port')
    return upstream_of(compilation, origin, text)


def _network(text: str) -> str:
    network, _ = parse_network(text)
    if network is None or network == "all":
        raise Refused(f'invalid network "{text}": ADDRESS, ADDRESS/PREFIX or unix:')
    return network


def _ports(text: str) -> PortRange:
    first, dash, last = text.partition("-")
    ends = [first, last if dash else first]
    if all(end.isascii() and end.isdecimal() and len(end) <= 5 for end in ends):
        low, high = (int(end) for end in ends)
        if 1 <= low <= high <= _LARGEST_PORT:
            return PortRange(first=low, last=high)
    raise Refused(f'invalid port "{text}": a number, or two with "-" between, 1 to 65535')


def _names(text: str) -> tuple[ServerName, ...]:
    if len(text.encode()) > _LONGEST_NAME or any(character.isspace() for character in text):
        raise Refused(f'invalid server name "{text[:64]}"')
    if text.startswith("~") and len(text) > 1:
        return (ServerName(kind="regex", text=text[1:]),)
    kinds = hostname_kinds(text.lower().removesuffix(".")) if text else None
    if kinds is None or text[0] == "~" or not text.isascii():
        hint = ", names of other scripts as xn--" if not text.isascii() else ""
        raise Refused(f'invalid server name "{text}": x, *.x, .x, x.* or ~regex{hint}')
    return tuple(ServerName(kind=kind, text=bare) for kind, bare in kinds)  # type: ignore[arg-type]


def _protocol(text: str) -> str:
    if not 1 <= len(text.encode()) <= _LONGEST_NAME:
        raise Refused(f'invalid protocol "{text[:64]}": 1 to {_LONGEST_NAME} bytes')
    return text
