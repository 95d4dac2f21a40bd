"""The plan's rules, as `crates/plan/src/rules.rs` has them."""

from __future__ import annotations

from qanat.compiler.record import Record, ServerName


class ProxyToRules(Record, frozen=True, kw_only=True, tag_field="type", tag="rules"):
    """`proxy_pass rules:NAME`: what the rules of a table choose."""

    table: str


class PassTo(Record, frozen=True, kw_only=True, tag_field="type", tag="pass"):
    """A rule's `pass=`."""

    upstream: str


class Reject(Record, frozen=True, kw_only=True, tag_field="type", tag="reject"):
    """A rule's `reject`."""

    status: int = 403


RuleAction = PassTo | Reject


class RuleTable(Record, frozen=True, kw_only=True):
    """A table of `rules`, which are objects of their own."""

    name: str
    default: RuleAction = Reject()
    origin: str


class PortRange(Record, frozen=True, kw_only=True):
    """Ports from `first` to `last`, both included."""

    first: int
    last: int


class Rule(Record, frozen=True, kw_only=True):
    """A rule; `id` is `TABLE/NAME`. Rules are asked in order of priority, position and name."""

    id: str
    priority: int
    position: int
    source: tuple[str, ...] = ()
    port: tuple[PortRange, ...] = ()
    sni: tuple[ServerName, ...] = ()
    alpn: tuple[str, ...] = ()
    starts_with: tuple[bytes, ...] = ()
    tls: bool | None = None
    action: RuleAction
    origin: str


class RuleQuery(Record, frozen=True, kw_only=True):
    """A session that might come, to ask which rule would decide it."""

    table: str
    source: str
    port: int | None = None
    tls: bool | None = None
    sni: str | None = None
    alpn: tuple[str, ...] = ()
    first_bytes: bytes = b""


class RuleVerdict(Record, frozen=True, kw_only=True):
    """Which rule decides a session; `passed_over` has rules asked before and what denied."""

    rule: str | None
    action: RuleAction
    waits: bool
    passed_over: tuple[tuple[str, str], ...]
