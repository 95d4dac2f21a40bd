"""Signals to a running gateway, and control addresses that follow the configuration."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.harness.engine import MemoryEngine
from tests.harness.live import live_gateway

from qanat.cli.configuration import Source, load_configuration
from qanat.cli.control_api import ControlApi, ControlBindError, bind
from qanat.cli.lifecycle import Lifecycle
from qanat.config.paths import Paths
from qanat.control.errors import PlanRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from qanat.control.gateway import LiveGateway

STREAM = "stream { server { listen 22222; return a; } }\n"


class LoggingEngine(MemoryEngine):
    """Lets a test wait for what is logged, and counts what signals do."""

    def __init__(self) -> None:
        super().__init__()
        self.said = asyncio.Condition()
        self.done: list[str] = []

    # `typing.override`, which three methods lack, is not in Python 3.11.
    def log(self, level: str, message: str) -> None:  # type: ignore[explicit-override]
        super().log(level, message)
        asyncio.get_running_loop().create_task(self._announce())

    def drain(self) -> None:  # type: ignore[explicit-override]
        self.done.append("drain")

    def reopen_logs(self) -> None:  # type: ignore[explicit-override]
        self.done.append("reopen")

    async def until_logged(self, text: str) -> None:
        async with self.said:
            await asyncio.wait_for(
                self.said.wait_for(lambda: any(text in line for _, line in self.logged)), 20
            )

    async def _announce(self) -> None:
        async with self.said:
            self.said.notify_all()


@dataclass
class Running:
    """A gateway that serves until a signal."""

    directory: Path
    gateway: LiveGateway
    engine: LoggingEngine
    api: ControlApi
    life: asyncio.Task[None]

    def write(self, text: str) -> None:
        (self.directory / "nginx.conf").write_text("events {}\n" + text)

    def control(self, path: str = "q.sock") -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=str(self.directory / path))
        return httpx.AsyncClient(transport=transport, base_url="http://localhost")


@asynccontextmanager
async def running(directory: Path, text: str) -> AsyncIterator[Running]:
    engine = LoggingEngine()
    async with live_gateway(directory, text, engine) as (gateway, _):
        source = Source(Paths.of(directory / "nginx.conf"))
        api = ControlApi(gateway)
        compiled = load_configuration(source).compiled
        endpoints = compiled.process.control
        await api.switch(endpoints, api.bind(endpoints))
        lifecycle = Lifecycle(gateway, api, source, compiled)
        lifecycle.install()
        life = asyncio.create_task(lifecycle.run())
        try:
            yield Running(directory, gateway, engine, api, life)
        finally:
            life.cancel()
            await api.close()
            signal.signal(signal.SIGUSR2, signal.SIG_DFL)
            signal.signal(signal.SIGWINCH, signal.SIG_DFL)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


async def test_hup_goes_over_to_the_file_as_it_is_now(tmp_path: Path) -> None:
    async with running(tmp_path, STREAM) as gateway:
        gateway.write(
            "stream { server { listen 22222; return b; } server { listen 1; return c; } }"
        )
        send(signal.SIGHUP)
        await gateway.engine.until_logged("reconfigured")
        lines = [line for _, line in gateway.engine.logged]
        assert lines[:2] == ["signal 1 (SIGHUP) received, reconfiguring", "reconfiguring"]
        assert list(gateway.engine.plan.listeners) == ["tcp:0.0.0.0:22222", "tcp:0.0.0.0:1"]


async def test_hup_with_a_bad_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    async with running(tmp_path, STREAM) as gateway:
        before = dict(gateway.engine.plan.servers)
        gateway.write("stream { server { listen 1; foo; bar; } }")
        send(signal.SIGHUP)
        await gateway.engine.until_logged('"bar"')
        emergencies = [line for level, line in gateway.engine.logged if level == "emerg"]
        assert emergencies == [
            f'unknown directive "{name}" in {tmp_path}/nginx.conf:2' for name in ("foo", "bar")
        ]
        assert gateway.engine.plan.servers == before


async def test_hup_says_what_only_a_start_can_change(tmp_path: Path) -> None:
    async with running(tmp_path, STREAM) as gateway:
        gateway.write("worker_processes 2;\n" + STREAM)
        send(signal.SIGHUP)
        await gateway.engine.until_logged("reconfigured")
        warning = ("warn", 'a new "worker_processes" takes effect at the next start')
        assert warning in gateway.engine.logged


async def test_a_refusal_of_the_data_plane_names_its_place(tmp_path: Path) -> None:
    async with running(tmp_path, STREAM) as gateway:
        refused = PlanRefused("servers", "a", "names", "bad regex", f"{tmp_path}/nginx.conf:2")
        gateway.engine.fail_next["prepare"] = refused
        gateway.write(STREAM.replace("a;", "b;"))
        send(signal.SIGHUP)
        await gateway.engine.until_logged(f"bad regex in {tmp_path}/nginx.conf:2")


async def test_usr1_opens_the_logs_anew(tmp_path: Path) -> None:
    async with running(tmp_path, STREAM) as gateway:
        send(signal.SIGUSR1)
        await gateway.engine.until_logged("reopening logs")
        send(signal.SIGTERM)
        await gateway.life
        assert gateway.engine.done == ["reopen"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_term_and_int_end_at_once(tmp_path: Path, number: signal.Signals) -> None:
    async with running(tmp_path, STREAM) as gateway:
        gateway.engine.open_sessions["tcp:0.0.0.0:22222/"] = 1
        send(number)
        await asyncio.wait_for(gateway.life, 20)
        assert gateway.engine.done == []


async def test_quit_waits_for_the_sessions(tmp_path: Path) -> None:
    async with running(tmp_path, STREAM) as gateway:
        gateway.engine.open_sessions["tcp:0.0.0.0:22222/"] = 1
        send(signal.SIGQUIT)
        await gateway.engine.until_logged("gracefully shutting down")
        assert not gateway.life.done()
        gateway.engine.open_sessions.clear()
        await asyncio.wait_for(gateway.life, 20)
        assert gateway.engine.done == ["drain"]


async def test_quit_waits_no_longer_than_the_configuration_says(tmp_path: Path) -> None:
    async with running(tmp_path, "worker_shutdown_timeout 50ms;\n" + STREAM) as gateway:
        gateway.engine.open_sessions["tcp:0.0.0.0:22222/"] = 1
        send(signal.SIGQUIT)
        await asyncio.wait_for(gateway.life, 20)
        assert ("info", "shutdown timeout") in gateway.engine.logged


async def test_control_addresses_follow_a_reload(tmp_path: Path) -> None:
    control = f"control unix:{tmp_path}/q.sock;\n"
    async with running(tmp_path, control + STREAM) as gateway:
        async with gateway.control() as client:
            assert (await client.get("/v1/status")).status_code == 200
        assert (tmp_path / "q.sock").stat().st_mode & 0o777 == 0o600
        gateway.write(control.replace("q.sock", "r.sock") + STREAM)
        send(signal.SIGHUP)
        await gateway.engine.until_logged("reconfigured")
        async with gateway.control("r.sock") as client:
            assert (await client.get("/v1/status")).json()["servers"] == 1
        assert not (tmp_path / "q.sock").exists()


async def test_a_new_rule_for_a_control_address_keeps_its_socket(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    control = f"control unix:{tmp_path}/q.sock;\n"
    async with running(tmp_path, control + STREAM) as gateway:
        gateway.write(control.replace(";", f" token_file={tmp_path}/token;") + STREAM)
        send(signal.SIGHUP)
        await gateway.engine.until_logged("reconfigured")
        async with gateway.control() as client:
            assert (await client.get("/v1/status")).status_code == 401
            bearer = {"Authorization": "Bearer secret"}
            assert (await client.get("/v1/status", headers=bearer)).status_code == 200


async def test_answers_do_not_wait_for_acknowledgements() -> None:
    connected = asyncio.get_running_loop().create_future()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("socket")
        connected.set_result(peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    with bind("127.0.0.1:0") as listening:
        async with await asyncio.start_server(accept, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            assert await asyncio.wait_for(connected, 20) == 1
            writer.close()
            await writer.wait_closed()


def test_a_control_address_in_use_is_refused_in_the_words_of_nginx(tmp_path: Path) -> None:
    with bind("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ControlBindError) as caught:
            bind(address)
        assert str(caught.value) == f"bind() to {address} failed (98: Address already in use)"
    path = f"unix:{tmp_path}/q.sock"
    with bind(path), pytest.raises(ControlBindError):
        bind(path)
    # Nobody listens there any more: the file that was left over is replaced.
    bind(path).close()
