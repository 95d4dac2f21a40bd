"""What is live now: the plan by id, the virtual servers of the API, and indexes over both.

A `Step` is computed from the state without touching it (`virtual_servers.py`) and taken once the
engine and the store have it. Taking a step costs what the step holds, never what the state holds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from qanat.compiler.plan import (
    Objects,
    ProxyContent,
    ProxyToUpstream,
    Removals,
    Server,
)
from qanat.compiler.rule_plan import ProxyToRules
from qanat.compiler.virtual_server import VirtualServerRequest
from qanat.control.index import PlanIndex
from qanat.control.names import spellings
from qanat.control.rule_state import RuleChange, RuleState, reference_changes
from qanat.control.tunnel_state import TunnelChange, TunnelState
from qanat.store.base import StoredServer, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qanat.compiler.compile import Compiled
    from qanat.compiler.tunnels import Tunnels
    from qanat.config.paths import Paths

# (listener id, name key)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class FileAccess:
    """Which files a request may name: those below `paths`, or `anywhere`."""

    paths: Paths
    anywhere: bool = False


class Opening(msgspec.Struct, frozen=True):
    """The words that open the listener, should this server be the first one after a restart."""

    address: str
    listen_option: str


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A virtual server as the store keeps it."""

    address: str
    server_name: str
    body: str
    listen_option: str
    opening: Opening


_documents = msgspec.json.Decoder(_Document)


@dataclass(frozen=True, slots=True)
class DynamicServer:
    """A virtual server that was added over the API."""

    key: Key
    server: str
    request: VirtualServerRequest
    opening: Opening
    revision: int

    def stored(self) -> StoredServer:
        """Make the record that brings this server back after a restart."""
        request = self.request
        document = _Document(
            address=request.address,
            server_name=request.server_name,
            body=request.body,
            listen_option=request.listen_option,
            opening=self.opening,
        )
        listener, name = self.key
        return StoredServer(listener, name, msgspec.json.encode(document), self.revision)


def read_stored(record: StoredServer) -> tuple[VirtualServerRequest, Opening]:
    """Read the document of a record. Raise `StoreError` if it is damaged."""
    try:
        document = _documents.decode(record.document)
    except msgspec.DecodeError as error:
        raise StoreError(
            f'the stored virtual server "{record.name}" of {record.listener} is damaged: {error}'
        ) from error
    request = VirtualServerRequest(
        address=document.address,
        server_name=document.server_name,
        body=document.body,
        listen_option=document.listen_option,
    )
    return request, document.opening


@dataclass(frozen=True, slots=True)
class Skipped:
    """A stored virtual server that cannot be served at present; it stays in the store."""

    record: StoredServer
    message: str


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the state: objects for the plan, and virtual servers that come and go."""

    put: Objects = field(default_factory=Objects)
    remove: Removals = field(default_factory=Removals)
    added: DynamicServer | None = None
    removed: DynamicServer | None = None
    unskipped: Skipped | None = None
    rules: tuple[RuleChange, ...] = ()
    tunnels: tuple[TunnelChange, ...] = ()
    model: Tunnels | None = None
    """All tunnels, services and bindings after it, if it is about them."""
    warnings: tuple[str, ...] = ()
    summary: str = ""
    """What the log says of it, if it is not about a virtual server."""

    @property
    def plans(self) -> bool:
        """Whether the plan changes."""
        return self.put != _NO_OBJECTS or self.remove != _NO_REMOVALS

    @property
    def stores(self) -> bool:
        """Whether the store changes."""
        servers = (self.added, self.removed, self.unskipped)
        return bool(self.rules or self.tunnels) or any(item is not None for item in servers)


_NO_OBJECTS = Objects()
_NO_REMOVALS = Removals()


class State:
    """All that is live."""

    def __init__(self, compiled: Compiled, files: FileAccess) -> None:
        self.compiled = compiled
        self.files = files
        self.revision = 0
        self.base = PlanIndex.of(compiled.objects)
        self.index = PlanIndex.of(compiled.objects)
        self.dynamic: dict[Key, DynamicServer] = {}
        self.names: dict[Key, str] = {}
        self.members: dict[str, dict[str, Key]] = {}
        self.references: Counter[tuple[str, str]] = Counter()
        self.skipped: dict[Key, Skipped] = {}
        self.rules = RuleState()
        self.tunnels = TunnelState(compiled.tunnels.model)
        self.rules.add(compiled.objects)
        for server in compiled.objects.servers:
            self._claim(server)

    def take(self, step: Step) -> None:
        """Make a step; it must have been computed from this very state."""
        if step.removed is not None:
            self._drop(step.removed)
        self._take_rules(step)
        self._take_tunnels(step)
        self.index.remove(step.remove)
        self.index.put(step.put)
        if step.unskipped is not None:
            del self.skipped[step.unskipped.record.listener, step.unskipped.record.name]
        if step.added is not None:
            self._adopt(step.added)

    def owner(self, key: Key) -> str | None:
        """Find the server, static or dynamic, that has a name on a listener."""
        return self.names.get(key)

    def is_static(self, kind: str, ident: str) -> bool:
        """Tell whether an object stands in the configuration file."""
        return ident in getattr(self.base, kind)

    def _take_rules(self, step: Step) -> None:
        self._count(reference_changes(self.index, step.put, step.remove))
        self.rules.remove(step.remove)
        self.rules.add(step.put)
        for change in step.rules:
            self.rules.keep(change)

    def _take_tunnels(self, step: Step) -> None:
        for change in step.tunnels:
            self.tunnels.keep(change)
        if step.model is not None:
            self.tunnels.model = step.model

    def _count(self, changes: Mapping[tuple[str, str], int]) -> None:
        for reference, change in changes.items():
            self.references[reference] += change
            if not self.references[reference]:
                del self.references[reference]

    def _adopt(self, dynamic: DynamicServer) -> None:
        server = self.index.servers[dynamic.server]
        listener, _ = dynamic.key
        self.dynamic[dynamic.key] = dynamic
        self.members.setdefault(listener, {})[dynamic.server] = dynamic.key
        self.references.update(tuple(references(server)))
        self._claim(server)

    def _drop(self, dynamic: DynamicServer) -> None:
        server = self.index.servers[dynamic.server]
        listener, _ = dynamic.key
        del self.dynamic[dynamic.key]
        members = self.members[listener]
        del members[dynamic.server]
        if not members:
            del self.members[listener]
        self._count(dict.fromkeys(references(server), -1))
        for name in spellings(server):
            if self.names.get((listener, name)) == server.id:
                del self.names[listener, name]

    def _claim(self, server: Server) -> None:
        # The first server that has a name keeps it, as in the data plane.
        for listener in server.listeners:
            for name in spellings(server):
                self.names.setdefault((listener, name), server.id)


def references(server: Server) -> Iterable[tuple[str, str]]:
    """List what a server stands on, as (kind, id), each once: upstreams, rules, certificates."""
    found: dict[tuple[str, str], None] = {}
    if server.tls is not None:
        found.update(dict.fromkeys(("certificates", ident) for ident in server.tls.certificates))
    if isinstance(server.content, ProxyContent):
        proxy = server.content.proxy
        if isinstance(proxy.target, ProxyToUpstream):
            found["upstreams", proxy.target.name] = None
        if isinstance(proxy.target, ProxyToRules):
            found["rule_tables", proxy.target.table] = None
        if proxy.tls is not None and proxy.tls.certificate is not None:
            found["certificates", proxy.tls.certificate] = None
    return found
