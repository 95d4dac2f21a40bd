"""A gateway declared in Python: as a program of its own, and inside somebody's event loop."""

from __future__ import annotations

import asyncio
import re
import select
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.harness.clients import ask, connect
from tests.harness.waiting import PATIENCE

from qanat import (
    BalanceSession,
    ConfigError,
    ConsistentHash,
    DatagramSession,
    Gateway,
    LogRecord,
    Peer,
    PrereadSession,
    background,
)
from qanat.control.errors import ListenRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

PROGRAM = """
import sys
from qanat import Gateway, LogRecord, PrereadSession

gateway = Gateway(control=sys.argv[1:], error_log=("stderr", "notice"))
server = gateway.listen("127.0.0.1:0", return_="hello $name\\n", set=("$name", "nobody"))


@server.preread
async def greet(session: PrereadSession) -> None:
    session.vars["name"] = await session.read_until(b"\\n")


@gateway.log
def note(record: LogRecord) -> None:
    print("status", record.status, flush=True)


@gateway.on_startup
async def start() -> None:
    print("start", flush=True)


@gateway.on_shutdown
async def stop() -> None:
    print("stop", flush=True)


if __name__ == "__main__":
    gateway.run()
    print("after", flush=True)
"""


class Program:
    """A program that runs a gateway, and what it prints."""

    def __init__(self, folder: Path, text: str = PROGRAM) -> None:
        self.file = folder / "program.py"
        self.file.write_text(text)
        self.printed = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> Program:
        self.process = subprocess.Popen(
            [sys.executable, self.file, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.file.parent,
        )
        return self

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until something is printed."""
        assert self.process is not None
        assert self.process.stdout is not None
        while not (found := re.search(pattern, self.printed)):
            assert select.select([self.process.stdout], [], [], PATIENCE)[0], self.printed
            block = self.process.stdout.read1()  # type: ignore[attr-defined]
            assert block, f"it ended\n{self.printed}"
            self.printed += block.decode()
        return found

    def end(self, number: signal.Signals | None = None) -> int:
        assert self.process is not None
        if number is not None:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=PATIENCE)
        self.printed += rest.decode()
        return self.process.returncode

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate(timeout=PATIENCE)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    yield program
    program.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_program_serves_until_a_signal(program: Program, number: signal.Signals) -> None:
    found = program.start().wait_for(r"qanat is running: listening on tcp 127.0.0.1:(\d+); .*\n")
    assert 'control API: off (start with Gateway(control="ADDRESS") to have it)' in found[0]
    assert program.printed.index("start\n") < program.printed.index("qanat is running")
    assert ask(int(found[1]), b"world\n") == b"hello world\n\n"
    program.wait_for("status 200\n")
    assert program.end(number) == 0
    assert program.printed.endswith("stop\nafter\n")
    assert [path.name for path in program.file.parent.iterdir()] == ["program.py"]


def test_a_program_keeps_its_port_and_its_functions_through_a_hup(program: Program) -> None:
    port = int(program.start().wait_for(r"listening on tcp 127.0.0.1:(\d+)")[1])
    assert program.process is not None
    program.process.send_signal(signal.SIGHUP)
    program.wait_for("reconfigured")
    assert ask(port, b"b\n") == b"hello b\n\n"
    assert program.end(signal.SIGTERM) == 0
    assert program.printed.count("start\n") == program.printed.count("stop\n") == 1


def test_a_program_with_a_control_api(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    program.start(f"unix:{path}").wait_for("qanat is running")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://q") as api:
        (server,) = api.get("/v1/servers").json()["servers"]
        assert server["origin"] == f"{program.file}:6"
        handlers = api.get("/v1/handlers").json()["handlers"]
        assert [(one["name"], one["phase"]) for one in handlers] == [
            ("__main__:note()", "log"),
            ("__main__:greet()", "preread"),
        ]
        assert api.post("/v1/handlers/reload").json()["generation"] == 2
    assert ask(int(server["listeners"][0].rpartition(":")[2]), b"c\n") == b"hello c\n\n"
    assert program.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            'return_="hello',
            r'proxy_pas="x", return_="hello',
        ),
        ("async def start() -> None:", "async def start() -> None:\n    raise OSError('no redis')"),
    ],
)
def test_a_program_that_cannot_start_says_why(tmp_path: Path, wrong: str, said: str) -> None:
    program = Program(tmp_path, PROGRAM.replace(wrong, said)).start()
    assert program.end() == 1
    place = f"in {program.file}:"
    assert place in program.printed
    assert "[emerg]" in program.printed
    assert "Traceback" not in program.printed
    assert "after" not in program.printed


async def exchange(port: int, data: bytes) -> bytes:
    """Connect, send, and read to the end."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        answer = await reader.read()
        writer.close()
        return answer


@asynccontextmanager
async def peer(name: bytes) -> AsyncIterator[str]:
    """Serve connections that are told a name, and then what they say; give the address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name + b":" + await reader.readline())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield "127.0.0.1:{1}".format(*server.sockets[0].getsockname())


async def test_devices_go_where_their_login_says() -> None:
    async with peer(b"one") as first, peer(b"two") as second:
        gateway = Gateway()
        servers = ConsistentHash([first, second])
        devices = gateway.upstream("devices", first, second)
        front = gateway.listen("127.0.0.1:0", proxy_pass=devices, preread_timeout="5s")
        statuses: list[int] = []

        @front.preread
        async def login(session: PrereadSession) -> None:
            session.ctx.device = await session.peek_until(b"\n")

        @devices.balance
        def by_device(session: BalanceSession) -> Peer | None:
            return servers.pick(session.ctx.device)

        @gateway.log
        def note(record: LogRecord) -> None:
            statuses.append(record.status)

        names = {first: b"one", second: b"two"}
        async with gateway:
            for number in range(8):
                line = b"dev-%d\n" % number
                chosen = servers.pick(line)
                assert chosen is not None
                wanted = names[chosen.address]
                assert await exchange(front.port, line) == wanted + b":" + line
        assert statuses == [200] * 8


async def test_datagrams_are_answered() -> None:
    gateway = Gateway()
    server = gateway.listen("127.0.0.1:0 udp")

    @server.datagrams
    async def answer(session: DatagramSession) -> None:
        async for data in session.datagrams():
            session.send(data.upper())
            return

    async with gateway:
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendto(client, b"hello", server.address)
            assert await asyncio.wait_for(loop.sock_recv(client, 100), PATIENCE) == b"HELLO"


async def test_what_is_declared_later_is_served_when_it_is_applied() -> None:
    gateway = Gateway()
    first = gateway.listen("127.0.0.1:0", return_="first")
    task: list[asyncio.Task[Any]] = []

    @gateway.preread
    def start(session: PrereadSession) -> None:
        task.append(background(asyncio.Event().wait(), name="lasting"))

    with pytest.raises(RuntimeError, match="for a gateway that runs"):
        await gateway.apply()
    async with gateway:
        port = first.port
        second = gateway.listen("127.0.0.1:0", return_="second")
        with pytest.raises(RuntimeError, match="once it is served"):
            second.port  # noqa: B018
        await gateway.apply()
        assert first.port == port
        assert await exchange(second.port, b"") == b"second"
        wrong = gateway.listen("127.0.0.1:0", proxy_pass="nowhere.invalid:1")
        with pytest.raises(ConfigError, match="host not found in upstream"):
            await gateway.apply()
        assert await exchange(port, b"") == b"first"
        gateway.remove(wrong)
        gateway.remove(first)
        await gateway.apply()
        with pytest.raises(ConnectionRefusedError):
            await exchange(port, b"")
        # No code was replaced: what handlers have started goes on.
        assert [one.done() for one in task] == [False, False]
    assert all(one.cancelled() for one in task)


async def test_a_gateway_can_be_served_again_and_beside_another() -> None:
    first, second = Gateway(), Gateway(config="stream { log_format a b; }")
    one, two = first.listen("127.0.0.1:0", return_="1"), second.listen("127.0.0.1:0", return_="2")
    events: list[str] = []
    first.on_startup(lambda: events.append("start"))
    first.on_shutdown(lambda: events.append("stop"))
    for _ in range(2):
        async with first, second:
            assert await exchange(one.port, b"") + await exchange(two.port, b"") == b"12"
            with pytest.raises(RuntimeError, match="runs already"):
                async with first:
                    pass
        with pytest.raises(RuntimeError, match="once it is served"):
            one.port  # noqa: B018
    assert events == ["start", "stop"] * 2


async def test_a_file_and_its_modules_are_mixed_in(tmp_path: Path) -> None:
    (tmp_path / "mixed_app.py").write_text(
        "def mark(session):\n    session.vars['mark'] = 'module'\n"
    )
    (tmp_path / "qanat.conf").write_text(
        "stream { python_path .; preread_by_python mixed_app:mark; "
        'server { listen unix:q.sock; set $mark ""; return $mark; } }'
    )
    gateway = Gateway(tmp_path / "qanat.conf", state_dir=tmp_path / "kept")
    server = gateway.listen("127.0.0.1:0", return_="$mark")
    with ExitStack() as kept:
        kept.callback(sys.path.remove, str(tmp_path))
        kept.callback(sys.modules.pop, "mixed_app", None)

        @server.preread
        def more(session: PrereadSession) -> None:
            session.vars["mark"] += " and function"

        async with gateway:
            assert await exchange(server.port, b"") == b"module and function"
    assert (tmp_path / "kept/state.db").is_file()


async def test_what_cannot_be_served_is_raised_and_leaves_nothing() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        gateway = Gateway()
        server = gateway.listen(f"127.0.0.1:{port}", return_="mine")
        stopped: list[bool] = []
        gateway.on_shutdown(lambda: stopped.append(True))
        with pytest.raises(ListenRefused, match=f"bind\\(\\) to 127.0.0.1:{port} failed"):
            async with gateway:
                pass
        assert stopped == [True]
    async with gateway:
        assert server.address == ("127.0.0.1", port)
        assert await exchange(port, b"") == b"mine"


async def test_a_loop_that_runs_has_another_way() -> None:
    with pytest.raises(RuntimeError, match="use `async with gateway:`"):
        Gateway().run()


def test_a_connection_is_ended_with_the_gateway() -> None:
    async def serve() -> None:
        gateway = Gateway()
        server = gateway.listen("127.0.0.1:0", return_="")
        begun = asyncio.Event()

        @server.preread
        async def wait(session: PrereadSession) -> None:
            begun.set()
            await asyncio.Event().wait()

        async with gateway:
            client = connect(server.port)
            await asyncio.wait_for(begun.wait(), PATIENCE)
        with client:
            assert await asyncio.to_thread(client.recv, 1) == b""

    asyncio.run(serve())
