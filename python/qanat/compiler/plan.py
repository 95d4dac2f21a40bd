"""The plan: what the data plane executes, as typed objects. Mirrors `crates/plan` field for field.

The compiler makes these from a configuration or from API objects; `control` stores and diffs them
(they compare by value); `control/engine.py` encodes a `ChangeSet` as MessagePack for the extension.
Durations end in `_ms` or `_s`. Meanings are documented once, in `crates/plan/src/*.rs`.
"""

from __future__ import annotations

from typing import Literal

from qanat.compiler.frame_plan import Frame  # noqa: TC001 - msgspec reads the annotations
from qanat.compiler.record import Record, ServerName
from qanat.compiler.rule_plan import (  # noqa: TC001 - msgspec reads the annotations
    ProxyToRules,
    Rule,
    RuleTable,
)
from qanat.compiler.socket_plan import SocketOptions
from qanat.compiler.tunnel_plan import (  # noqa: TC001 - msgspec reads the annotations
    Binding,
    Service,
    Tunnel,
    TunnelNode,
    TunnelPeer,
)

SCHEMA = 1

# [is_variable, text]: literal text, or the lower-case name of a variable (a number for a regex
# capture).
Part = tuple[bool, str]
Template = tuple[Part, ...]


class Listener(Record, frozen=True, kw_only=True):
    """One address that sessions arrive at; `id` is `PROTOCOL:ADDRESS`, as `tcp:0.0.0.0:80` or
    `tcp:unix:/run/q.sock`."""

    id: str
    protocol: Literal["tcp", "udp"]
    address: str
    parent: str | None = None
    default_server: str
    tls: bool = False
    proxy_protocol: bool = False
    mesh: bool = False
    role: Literal["sessions", "tunnels"] = "sessions"
    refuses_without: tuple[str, ...] | None = None
    socket: SocketOptions = SocketOptions()
    origin: str


class AccessRule(Record, frozen=True, kw_only=True):
    """`allow` or `deny`; `network` is `all`, `unix:` or `ADDRESS/PREFIX`."""

    allow: bool
    network: str


class SetVariable(Record, frozen=True, kw_only=True):
    """`set $name value;`."""

    name: str
    value: Template


class Preread(Record, frozen=True, kw_only=True):
    """The preread phase of a server; `tls` is `ssl_preread`."""

    tls: bool = False
    buffer_size: int = 16384
    timeout_ms: int = 30_000
    frame: Frame | None = None


class Handlers(Record, frozen=True, kw_only=True):
    """Handlers in Python, by the names that `qanat.handlers` resolves."""

    access: tuple[str, ...] = ()
    client_hello: tuple[str, ...] = ()
    certificate: tuple[str, ...] = ()
    preread: tuple[str, ...] = ()
    verify: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    timeout_ms: int = 5000


class ServerTls(Record, frozen=True, kw_only=True):
    """`ssl_*` of a virtual server; ciphers are IANA suite names, empty for the default set."""

    certificates: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    ciphers: tuple[str, ...] = ()
    prefer_server_ciphers: bool = False
    alpn: tuple[str, ...] = ()
    reject_handshake: bool = False
    session_tickets: bool = True
    session_ticket_keys: tuple[bytes, ...] = ()
    session_cache: int = 0
    session_timeout_s: int = 300
    handshake_timeout_ms: int = 60_000


class ProxyToUpstream(Record, frozen=True, kw_only=True, tag_field="type", tag="upstream"):
    """`proxy_pass` to an upstream by name; a literal address has an upstream named as written."""

    name: str


class ProxyToVariable(Record, frozen=True, kw_only=True, tag_field="type", tag="variable"):
    """`proxy_pass` with variables."""

    value: Template


class Bind(Record, frozen=True, kw_only=True):
    """`proxy_bind`."""

    address: Template
    transparent: bool = False


class ProxyTls(Record, frozen=True, kw_only=True):
    """TLS towards the peer; `trusted` holds DER certificates, `certificate` is the id of a
    certificate object."""

    name: Template | None = None
    server_name: bool = False
    verify: bool = False
    verify_depth: int = 1
    trusted: tuple[bytes, ...] = ()
    certificate: str | None = None
    protocols: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    ciphers: tuple[str, ...] = ()
    alpn: tuple[str, ...] = ()
    session_reuse: bool = True


class Proxy(Record, frozen=True, kw_only=True):
    """`proxy_pass` and the directives around it."""

    target: ProxyToUpstream | ProxyToVariable | ProxyToRules
    connect_timeout_ms: int = 60_000
    timeout_ms: int = 600_000
    buffer_size: int = 16384
    next_upstream: bool = True
    next_upstream_tries: int = 0
    next_upstream_timeout_ms: int = 0
    protocol: Literal["off", "v1", "v2"] = "off"
    half_close: bool = False
    bind: Bind | None = None
    socket_keepalive: bool = False
    upload_rate: Template | None = None
    download_rate: Template | None = None
    requests: int = 0
    responses: int | None = None
    tls: ProxyTls | None = None


class NoContent(Record, frozen=True, kw_only=True, tag_field="type", tag="none"):
    """Nothing is configured: sessions are closed with status 500."""


class ReturnContent(Record, frozen=True, kw_only=True, tag_field="type", tag="return"):
    """`return TEXT;`."""

    text: Template


class ProxyContent(Record, frozen=True, kw_only=True, tag_field="type", tag="proxy"):
    """`proxy_pass`."""

    proxy: Proxy


class HandlerContent(Record, frozen=True, kw_only=True, tag_field="type", tag="handler"):
    """`content_by_python`."""

    handler: str
    timeout_ms: int


Content = NoContent | ReturnContent | ProxyContent | HandlerContent


class Target(Record, frozen=True, kw_only=True):
    """Where log lines go; `path` is absolute, may hold variables (access logs), and is empty for
    `stderr`."""

    kind: Literal["file", "stderr"]
    path: Template = ()


Level = Literal["debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"]


class ErrorLog(Record, frozen=True, kw_only=True):
    """`error_log TARGET LEVEL;`."""

    target: Target
    level: Level = "error"


class LogFormat(Record, frozen=True, kw_only=True):
    """`log_format NAME [escape=…] TEXT…;`."""

    name: str
    escape: Literal["default", "json", "none"] = "default"
    line: Template


class AccessLog(Record, frozen=True, kw_only=True):
    """`access_log PATH FORMAT [if=…];`."""

    target: Target
    format: str
    condition: Template | None = None


class Server(Record, frozen=True, kw_only=True):
    """A virtual server with everything inherited from `stream` already merged in."""

    id: str
    listeners: tuple[str, ...]
    name: str = ""
    names: tuple[ServerName, ...] = ()
    error_log: tuple[ErrorLog, ...] | None = None
    access: tuple[AccessRule, ...] = ()
    set: tuple[SetVariable, ...] = ()
    preread: Preread = Preread()
    handlers: Handlers = Handlers()
    proxy_protocol_timeout_ms: int = 30_000
    tcp_nodelay: bool = True
    tls: ServerTls | None = None
    content: Content = NoContent()
    access_log: tuple[AccessLog, ...] = ()
    origin: str


class Certificate(Record, frozen=True, kw_only=True):
    """A certificate chain (DER, the leaf first) with its key (PKCS#8 DER); `id` is a digest of
    both."""

    id: str
    chain: tuple[bytes, ...]
    key: bytes
    origin: str


class RoundRobin(Record, frozen=True, kw_only=True, tag_field="type", tag="round_robin"):
    """Smooth weighted round robin."""


class LeastConn(Record, frozen=True, kw_only=True, tag_field="type", tag="least_conn"):
    """`least_conn`."""


class Hash(Record, frozen=True, kw_only=True, tag_field="type", tag="hash"):
    """`hash KEY [consistent]`."""

    key: Template
    consistent: bool = False


class Random(Record, frozen=True, kw_only=True, tag_field="type", tag="random"):
    """`random [two [least_conn]]`."""

    two: bool = False


Balance = RoundRobin | LeastConn | Hash | Random


class Peer(Record, frozen=True, kw_only=True):
    """One address of an upstream; `server` is the argument as written, shared by the addresses of
    one host name."""

    server: str
    address: str
    weight: int = 1
    max_conns: int = 0
    max_fails: int = 1
    fail_timeout_ms: int = 10_000
    backup: bool = False
    down: bool = False


class Upstream(Record, frozen=True, kw_only=True):
    """`upstream NAME { … }`, or the nameless one of a literal `proxy_pass` address."""

    name: str
    balance: Balance = RoundRobin()
    handler: str | None = None
    peers: tuple[Peer, ...]
    origin: str


class MapEntry(Record, frozen=True, kw_only=True):
    """An entry of a map, keyed by lower-case text."""

    key: str
    value: Template


class MapPattern(Record, frozen=True, kw_only=True):
    """A regular expression of a map, without its `~` or `~*`."""

    pattern: str
    ignore_case: bool = False
    value: Template
    origin: str


class Map(Record, frozen=True, kw_only=True, tag_field="type", tag="map"):
    """`map SOURCE $name { … }`: exact, longest `*.`, longest `.*`, first regex, default, in this
    order."""

    source: Template
    default: Template = ()
    hostnames: bool = False
    exact: tuple[MapEntry, ...] = ()
    leading: tuple[MapEntry, ...] = ()
    trailing: tuple[MapEntry, ...] = ()
    patterns: tuple[MapPattern, ...] = ()


class Variable(Record, frozen=True, kw_only=True):
    """A variable computed from others; `name` is lower case, without `$`."""

    name: str
    volatile: bool = False
    kind: Map
    origin: str


class Settings(Record, frozen=True, kw_only=True):
    """Gateway-wide settings that may change at run time."""

    node_name: str = ""
    hostname: str
    version: str
    error_log: tuple[ErrorLog, ...]
    worker_connections: int = 512
    shutdown_timeout_ms: int = 0
    handlers: int = 0
    tunnels: TunnelNode | None = None


class Objects(Record, frozen=True, kw_only=True):
    """Objects by kind; each kind has its own space of ids (`name` for variables, formats and
    upstreams)."""

    variables: tuple[Variable, ...] = ()
    formats: tuple[LogFormat, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    rule_tables: tuple[RuleTable, ...] = ()
    rules: tuple[Rule, ...] = ()
    listeners: tuple[Listener, ...] = ()
    servers: tuple[Server, ...] = ()
    peers: tuple[TunnelPeer, ...] = ()
    tunnels: tuple[Tunnel, ...] = ()
    services: tuple[Service, ...] = ()
    bindings: tuple[Binding, ...] = ()


class Removals(Record, frozen=True, kw_only=True):
    """Ids of removed objects, by kind."""

    variables: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()
    rule_tables: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    tunnels: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    bindings: tuple[str, ...] = ()


class ChangeSet(Record, frozen=True, kw_only=True):
    """A step from one plan to the next, applied whole or not at all."""

    schema: int = SCHEMA
    revision: int
    settings: Settings | None = None
    put: Objects = Objects()
    remove: Removals = Removals()


class Options(Record, frozen=True, kw_only=True):
    """What is fixed for the life of a gateway."""

    schema: int = SCHEMA
    workers: int = 1
