"""A handler of another phase is refused by the type checker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy import api

if TYPE_CHECKING:
    from pathlib import Path

RIGHT = """
from qanat import *

gateway = Gateway(python_timeout="1s")
group = gateway.upstream("group", "127.0.0.1:1", Peer("127.0.0.1:2"), balance="least_conn")
networks: list[str] = ["10.0.0.1", "::1"]
server = gateway.listen("127.0.0.1:0", proxy_pass=group, allow=networks, deny="all")

@server.access
def admit(session: AccessSession) -> None:
    if session.client[0] == "10.0.0.1":
        session.reject(403)

@gateway.preread
async def login(session: PrereadSession) -> None:
    await session.peek(4)

@gateway.preread(server)
def look(session: PrereadSession) -> None: ...

@group.balance
def choose(session: BalanceSession) -> Peer | None: ...

@group.balance
async def name(session: BalanceSession) -> str:
    return "127.0.0.1:1"

@gateway.log
def note(record: LogRecord) -> None: ...

@gateway.on_startup
async def start() -> None: ...

@gateway.every(5, jitter=1)
def tick() -> None: ...

async def main(session: PrereadSession) -> int:
    await login(session)
    async with gateway as running:
        await running.apply()
        return server.port
"""
WRONG = {
    "another session": "@server.access\ndef f(session: PrereadSession) -> None: ...",
    "another session, awaited": "@gateway.log\nasync def f(s: AccessSession) -> None: ...",
    "of some servers": "@gateway.preread(server)\ndef f(session: LogRecord) -> None: ...",
    "no peer": "@group.balance\ndef f(session: BalanceSession) -> int: return 1",
    "no servers": "@gateway.preread('name')\ndef f(session: PrereadSession) -> None: ...",
    "arguments": "@gateway.on_startup\ndef f(session: object) -> None: ...",
    "no word": "gateway.listen(1, proxy_pass=object())",
}


def check(folder: Path, text: str) -> str:
    path = folder / "user.py"
    path.write_text(text)
    output, errors, _ = api.run(["--strict", "--config-file=", str(path)])
    return output + errors


def test_right_handlers_are_accepted(tmp_path: Path) -> None:
    assert "Success" in check(tmp_path, RIGHT)


def test_wrong_handlers_are_refused(tmp_path: Path) -> None:
    cases = {
        kind: f"\ndef {kind.replace(' ', '_').replace(',', '')}() -> None:\n"
        + "".join(f"    {line}\n" for line in code.splitlines())
        for kind, code in WRONG.items()
    }
    output = check(tmp_path, RIGHT + "".join(cases.values()))
    line = RIGHT.count("\n") + 3
    for kind, code in cases.items():
        assert f"user.py:{line}: error" in output, f"{kind}\n{output}"
        line += code.count("\n")
