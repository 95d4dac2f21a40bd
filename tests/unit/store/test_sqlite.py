"""The embedded store keeps what it acknowledged, in order; its errors name the file."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from qanat.store.base import (
    Change,
    DeleteRule,
    DeleteServer,
    PutRule,
    PutServer,
    StoredRule,
    StoredServer,
    StoreError,
)
from qanat.store.sqlite import SqliteStore


def put(name: str, revision: int = 1) -> PutServer:
    return PutServer(StoredServer("tcp:0.0.0.0:80", name, name.encode(), revision))


async def write(directory: Path, *changes: Change, revision: int = 1) -> None:
    store = await SqliteStore.open(directory, "node-1")
    await store.apply(changes, revision)
    await store.close()


async def read(directory: Path) -> tuple[int, list[str]]:
    store = await SqliteStore.open(directory, "node-1")
    stored = await store.load()
    await store.close()
    return stored.revision, [server.name for server in stored.servers]


async def test_a_new_directory_is_private_and_empty(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "state"
    assert await read(directory) == (0, [])
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "state.db").stat().st_mode & 0o777 == 0o600


async def test_servers_come_back_in_the_order_of_adding(tmp_path: Path) -> None:
    await write(tmp_path, put("b"), put("a"), revision=1)
    await write(tmp_path, put("c"), DeleteServer("tcp:0.0.0.0:80", "b"), revision=2)
    assert await read(tmp_path) == (2, ["a", "c"])


async def test_put_replaces_and_delete_of_nothing_is_no_error(tmp_path: Path) -> None:
    await write(tmp_path, put("a", 1), DeleteServer("x", "y"))
    await write(tmp_path, put("a", 5), revision=5)
    store = await SqliteStore.open(tmp_path, "node-1")
    (server,) = (await store.load()).servers
    await store.close()
    assert server.revision == 5


async def test_the_same_name_on_two_listeners_is_two_servers(tmp_path: Path) -> None:
    other = PutServer(StoredServer("udp:0.0.0.0:80", "a", b"", 1))
    await write(tmp_path, put("a"), other, DeleteServer("tcp:0.0.0.0:80", "a"))
    assert await read(tmp_path) == (1, ["a"])


async def test_one_gateway_at_a_time(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path, "node-1")
    with pytest.raises(StoreError, match=rf"{tmp_path} is in use .*process {os.getpid()}"):
        await SqliteStore.open(tmp_path, "node-2")
    await store.close()
    assert await read(tmp_path) == (0, [])


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this is no database" * 500)
    with pytest.raises(StoreError, match=r"state\.db is damaged"):
        await SqliteStore.open(tmp_path, "node-1")
    assert (tmp_path / "state.db").read_bytes().startswith(b"this is no")


async def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    await write(tmp_path, put("a"))
    script = "UPDATE meta SET value = '99' WHERE key = 'schema'"
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sqlite3;c=sqlite3.connect({str(tmp_path / 'state.db')!r});"
            f"c.execute({script!r});c.commit();c.close()",
        ],
        check=True,
    )
    with pytest.raises(StoreError, match="has version 99"):
        await SqliteStore.open(tmp_path, "node-1")


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot use state directory .*file/state"):
        await SqliteStore.open(tmp_path / "file" / "state", "node-1")


async def test_a_failed_change_leaves_nothing(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path, "node-1")
    broken = PutServer(StoredServer("l", "n", None, 1))  # type: ignore[arg-type]  # no bytes
    with pytest.raises(StoreError, match="state database"):
        await store.apply((put("a"), broken), 1)
    assert (await store.load()).servers == ()
    await store.apply((put("b"),), 2)
    await store.close()
    assert await read(tmp_path) == (2, ["b"])


CRASH = """
import asyncio, os, sys
from pathlib import Path
from qanat.store.base import PutServer, StoredServer
from qanat.store.sqlite import SqliteStore

class Fatal:
    def __iter__(self):
        yield PutServer(StoredServer("tcp:1.1.1.1:1", "half", b"", 8))
        os._exit(7)

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]), "node-1")
    for n in range(7):
        await store.apply((PutServer(StoredServer("tcp:1.1.1.1:1", f"s{n}", b"", n + 1)),), n + 1)
    await store.apply(Fatal(), 8)

asyncio.run(main())
"""


async def test_a_process_that_dies_in_a_transaction_loses_only_that_transaction(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", textwrap.dedent(CRASH), str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*command)
    assert await process.wait() == 7
    assert await read(tmp_path) == (7, [f"s{n}" for n in range(7)])


async def test_rules_are_kept_each_table_before_its_rules(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path, "node-1")
    rules = [
        StoredRule("b", "r", b"1", 1),
        StoredRule("b", "", b"2", 1),
        StoredRule("a", "", b"", 1),
    ]
    await store.apply(tuple(PutRule(rule) for rule in rules), 1)
    await store.apply((PutRule(StoredRule("b", "r", b"3", 2)), DeleteRule("a", "")), 2)
    assert (await store.load()).rules == (
        StoredRule("b", "", b"2", 1),
        StoredRule("b", "r", b"3", 2),
    )
    await store.close()


async def test_a_database_without_rules_is_brought_up_to_date(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path, "node-1")
    await store.apply((put("a"),), 1)
    await store.close()
    with sqlite3.connect(tmp_path / "state.db") as database:
        database.executescript(
            "DROP TABLE rules; DROP TABLE tunnels; UPDATE meta SET value = '1' WHERE key = 'schema'"
        )
    database.close()
    assert await read(tmp_path) == (1, ["a"])
    store = await SqliteStore.open(tmp_path, "node-1")
    await store.apply((PutRule(StoredRule("a", "", b"", 2)),), 2)
    assert len((await store.load()).rules) == 1
    await store.close()
