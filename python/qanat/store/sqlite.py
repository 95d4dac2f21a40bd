"""The embedded store: an SQLite file in the state directory, written before a change is answered.

WAL with synchronous=FULL: a committed transaction survives a crash of the machine. One thread of
its own does all the work: the event loop never waits for the disk. A lock file keeps a second
gateway out.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

from qanat.store.base import (
    Change,
    DeleteRule,
    DeleteServer,
    DeleteTunnel,
    PutRule,
    PutServer,
    PutTunnel,
    Stored,
    StoredRule,
    StoredServer,
    StoredTunnel,
    StoreError,
    StoreInUse,
)

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 2
DATABASE = "state.db"
LOCK = "lock"

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE virtual_servers (
    position INTEGER PRIMARY KEY,
    listener TEXT NOT NULL,
    name TEXT NOT NULL,
    document BLOB NOT NULL,
    revision INTEGER NOT NULL,
    node TEXT NOT NULL,
    UNIQUE (listener, name)
);
"""
# A table of rules has an empty name. Version 1 had no rules and no tunnels.
_RULES = """
CREATE TABLE rules (
    rule_table TEXT NOT NULL,
    name TEXT NOT NULL,
    document BLOB NOT NULL,
    revision INTEGER NOT NULL,
    node TEXT NOT NULL,
    PRIMARY KEY (rule_table, name)
) WITHOUT ROWID;
"""
_TUNNELS = """
CREATE TABLE tunnels (
    position INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    document BLOB NOT NULL,
    revision INTEGER NOT NULL,
    node TEXT NOT NULL,
    UNIQUE (kind, name)
);
"""
_PUT = """
INSERT INTO virtual_servers (listener, name, document, revision, node) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (listener, name) DO UPDATE
SET document = excluded.document, revision = excluded.revision, node = excluded.node
"""
_DELETE = "DELETE FROM virtual_servers WHERE listener = ? AND name = ?"
_SELECT = "SELECT listener, name, document, revision FROM virtual_servers ORDER BY position"
_PUT_RULE = "INSERT OR REPLACE INTO rules VALUES (?, ?, ?, ?, ?)"
_DELETE_RULE = "DELETE FROM rules WHERE rule_table = ? AND name = ?"
_SELECT_RULES = "SELECT rule_table, name, document, revision FROM rules ORDER BY rule_table, name"
_PUT_TUNNEL = """
INSERT INTO tunnels (kind, name, document, revision, node) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (kind, name) DO UPDATE
SET document = excluded.document, revision = excluded.revision, node = excluded.node
"""
_DELETE_TUNNEL = "DELETE FROM tunnels WHERE kind = ? AND name = ?"
_SELECT_TUNNELS = "SELECT kind, name, document, revision FROM tunnels ORDER BY position"
_SET_META = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


class SqliteStore:
    """A `Store` in `state_dir/state.db`. Make it with `SqliteStore.open`."""

    def __init__(self, database: _Database, thread: ThreadPoolExecutor) -> None:
        self._database = database
        self._thread = thread

    @classmethod
    async def open(cls, state_dir: Path, node: str) -> Self:
        """Lock the directory (made if missing) and open the database. Raise `StoreError`."""
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qanat-store")
        loop = asyncio.get_running_loop()
        try:
            database = await loop.run_in_executor(thread, _Database, state_dir, node)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(database, thread)

    async def load(self) -> Stored:
        """Read everything. Raise `StoreError`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._database.load)

    async def apply(self, changes: tuple[Change, ...], revision: int) -> None:
        """Make all the changes and the revision durable, or none of them. Raise `StoreError`."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._database.apply, changes, revision)

    async def close(self) -> None:
        """Close the database and give up the lock; a call that is under way ends first."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._database.close)
        self._thread.shutdown(wait=False)


class _Database:
    """The blocking half; used by one thread only."""

    def __init__(self, state_dir: Path, node: str) -> None:
        self._node = node
        self._path = state_dir / DATABASE
        self._lock = _lock_directory(state_dir)
        try:
            self._connection = self._open()
        except BaseException:
            os.close(self._lock)
            raise

    def load(self) -> Stored:
        try:
            rows = self._connection.execute(_SELECT).fetchall()
            rules = self._connection.execute(_SELECT_RULES).fetchall()
            tunnels = self._connection.execute(_SELECT_TUNNELS).fetchall()
            revision = int(self._meta("revision") or 0)
        except (sqlite3.Error, ValueError) as error:
            raise self._failed("read", error) from error
        servers = tuple(StoredServer(*row) for row in rows)
        return Stored(
            revision,
            servers,
            tuple(StoredRule(*row) for row in rules),
            tuple(StoredTunnel(*row) for row in tunnels),
        )

    def apply(self, changes: tuple[Change, ...], revision: int) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for change in changes:
                self._write(change)
            connection.execute(_SET_META, ("revision", str(revision)))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            raise self._failed("write", error) from error

    def close(self) -> None:
        self._connection.close()
        os.close(self._lock)

    def _write(self, change: Change) -> None:
        execute = self._connection.execute
        match change:
            case PutServer(row):
                execute(_PUT, (row.listener, row.name, row.document, row.revision, self._node))
            case DeleteServer(listener, name):
                execute(_DELETE, (listener, name))
            case PutRule(rule):
                values = (rule.table, rule.name, rule.document, rule.revision, self._node)
                execute(_PUT_RULE, values)
            case DeleteRule(table, name):
                execute(_DELETE_RULE, (table, name))
            case PutTunnel(one):
                values = (one.kind, one.name, one.document, one.revision, self._node)
                execute(_PUT_TUNNEL, values)
            case DeleteTunnel(kind, name):
                execute(_DELETE_TUNNEL, (kind, name))

    def _open(self) -> sqlite3.Connection:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.close(descriptor)
            connection = sqlite3.connect(self._path, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise self._failed("open", error) from error
        try:
            _prepare(connection)
            self._connection = connection
            self._check_version()
        except (sqlite3.Error, ValueError) as error:
            connection.close()
            raise self._failed("open", error) from error
        except StoreError:
            connection.close()
            raise
        return connection

    def _check_version(self) -> None:
        version = int(self._meta("schema") or 0)
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"state database {self._path} has version {version}, "
                f"this gateway reads version {SCHEMA_VERSION}"
            )
        if self._meta("node_name") != self._node:
            self._connection.execute(_SET_META, ("node_name", self._node))

    def _meta(self, key: str) -> str | None:
        row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def _failed(self, verb: str, error: Exception) -> StoreError:
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError
        )
        if damaged or isinstance(error, ValueError):
            return StoreError(f"state database {self._path} is damaged: {error}")
        return StoreError(f"cannot {verb} state database {self._path}: {error}")


def _prepare(connection: sqlite3.Connection) -> None:
    """Set the journal, check the file, and make the tables of a new one. Raise `sqlite3.Error`."""
    connection.execute("PRAGMA busy_timeout = 2000")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    (report,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if report != "ok":
        raise sqlite3.DatabaseError(report)
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0:
        # executescript commits a pending transaction first, so the BEGIN stands inside the script.
        version = f"INSERT INTO meta VALUES ('schema', '{SCHEMA_VERSION}');"  # noqa: S608 - a number of ours
        connection.executescript(f"BEGIN;{_TABLES}{_RULES}{_TUNNELS}{version}COMMIT;")
        return
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    if row == ("1",):
        version = f"UPDATE meta SET value = '{SCHEMA_VERSION}' WHERE key = 'schema';"  # noqa: S608 - a number of ours
        connection.executescript(f"BEGIN;{_RULES}{_TUNNELS}{version}COMMIT;")


def _lock_directory(state_dir: Path) -> int:
    """Take the directory for this process; the descriptor holds the lock. Raise `StoreError`."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(state_dir / LOCK, flags, 0o600)
    except OSError as error:
        raise StoreError(f"cannot use state directory {state_dir}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise StoreInUse(
            f"state directory {state_dir} is in use by another gateway (process {owner})"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
