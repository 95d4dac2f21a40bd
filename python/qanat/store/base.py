"""What every store can do: load all that was acknowledged, and apply one change whole.

The embedded store is `sqlite.py`. A store shared by several gateways implements the same protocol:
a record is a small document under a two-part key, and a revision orders the changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class StoreError(Exception):
    """The store could not be opened, read or written; the message says which and why."""


class StoreInUse(StoreError):  # noqa: N818 - reads as what is the matter
    """Another gateway has the store."""


@dataclass(frozen=True, slots=True)
class StoredServer:
    """A virtual server added over the API; `document` is JSON that only `control` reads."""

    listener: str
    name: str
    document: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class PutServer:
    """Add a virtual server, or replace the one of the same listener and name."""

    server: StoredServer


@dataclass(frozen=True, slots=True)
class DeleteServer:
    """Remove a virtual server; one that is not there is no error."""

    listener: str
    name: str


@dataclass(frozen=True, slots=True)
class StoredRule:
    """A rule added over the API, or with an empty name a table of rules; `document` is JSON."""

    table: str
    name: str
    document: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class PutRule:
    """Add a rule or a table, or replace the one of the same names."""

    rule: StoredRule


@dataclass(frozen=True, slots=True)
class DeleteRule:
    """Remove a rule or a table; one that is not there is no error."""

    table: str
    name: str


@dataclass(frozen=True, slots=True)
class StoredTunnel:
    """A tunnel, a service or a binding added over the API, by its kind and name; `document` is
    JSON."""

    kind: str
    name: str
    document: bytes
    revision: int


@dataclass(frozen=True, slots=True)
class PutTunnel:
    """Add a tunnel, a service or a binding, or replace the one of the same kind and name."""

    tunnel: StoredTunnel


@dataclass(frozen=True, slots=True)
class DeleteTunnel:
    """Remove a tunnel, a service or a binding; one that is not there is no error."""

    kind: str
    name: str


Change = PutServer | DeleteServer | PutRule | DeleteRule | PutTunnel | DeleteTunnel


@dataclass(frozen=True, slots=True)
class Stored:
    """All that a store holds; servers in the order in which they were added, rules by name, each
    table before its rules."""

    revision: int
    servers: tuple[StoredServer, ...]
    rules: tuple[StoredRule, ...] = ()
    tunnels: tuple[StoredTunnel, ...] = ()


class Store(Protocol):
    """Durable state of one gateway."""

    async def load(self) -> Stored:
        """Read everything. Raise `StoreError`."""

    async def apply(self, changes: tuple[Change, ...], revision: int) -> None:
        """Make all the changes and the revision durable, or none of them. Raise `StoreError`."""

    async def close(self) -> None:
        """Release the store; a call that is under way ends first."""
