"""Names of hosts are looked up outside the turns: a slow one delays its own change alone."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.harness.live import STREAM, compile_text, live_gateway

from qanat.compiler.virtual_server import VirtualServerRequest
from qanat.config.errors import ConfigError
from qanat.control.errors import DeadlineExceeded
from qanat.control.threads import in_daemon_thread
from qanat.control.turns import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHERE = "0.0.0.0:22222"


class Resolver:
    """Finds any name but `missing.test`; `slow.test` once it is let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.began = threading.Event()
        self.go = threading.Event()

    def __call__(self, host: str) -> list[str]:
        self.asked.append(host)
        if host == "missing.test":
            raise OSError("no address")
        if host == "slow.test":
            self.began.set()
            self.go.wait()
        return ["192.0.2.1"]

    async def until_slow(self) -> None:
        await asyncio.to_thread(self.began.wait)


@contextmanager
def resolver() -> Iterator[Resolver]:
    """Give a resolver, whose threads end with the test."""
    found = Resolver()
    try:
        yield found
    finally:
        found.go.set()


def proxy(name: str, host: str) -> VirtualServerRequest:
    return VirtualServerRequest(WHERE, name, f"proxy_pass {host}:80;")


async def test_a_slow_name_delays_no_other_change(tmp_path: Path) -> None:
    with resolver() as resolve:
        async with live_gateway(tmp_path, resolve=resolve) as (gateway, engine):
            slow = [
                asyncio.create_task(gateway.add_virtual_server(proxy(name, "slow.test")))
                for name in ("a", "b")
            ]
            await resolve.until_slow()
            await gateway.add_virtual_server(proxy("c", "quick.test"))
            await gateway.remove_virtual_server(WHERE, "c")
            await gateway.reload(compile_text(tmp_path, STREAM))
            assert not any(task.done() for task in slow)
            resolve.go.set()
            await asyncio.gather(*slow)
            assert resolve.asked.count("slow.test") == 1
            (peer,) = engine.plan.upstreams["slow.test:80"].peers
            assert peer.address == "192.0.2.1:80"


async def test_a_reload_that_waits_for_a_name_delays_no_change(tmp_path: Path) -> None:
    with resolver() as resolve:
        async with live_gateway(tmp_path, resolve=resolve) as (gateway, _):
            resolve.go.set()
            await gateway.add_virtual_server(proxy("a", "slow.test"))
            resolve.go.clear()
            resolve.began.clear()
            reload = asyncio.create_task(gateway.reload(compile_text(tmp_path, STREAM)))
            await resolve.until_slow()
            await gateway.add_virtual_server(proxy("b", "quick.test"))
            resolve.go.set()
            await reload
            assert [view.names for view in gateway.servers() if view.dynamic] == [("a",), ("b",)]


async def test_a_name_that_is_not_found_in_time_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with resolver() as resolve:
        async with live_gateway(tmp_path, resolve=resolve) as (gateway, _):
            monkeypatch.setattr(gateway._turns, "limits", Limits(deadline_s=0.01))
            with pytest.raises(DeadlineExceeded, match=r'"slow\.test" took too long, nothing'):
                await gateway.add_virtual_server(proxy("a", "slow.test"))
            assert gateway.revision == 1


async def test_a_name_without_address_is_refused(tmp_path: Path) -> None:
    with resolver() as resolve:
        async with live_gateway(tmp_path, resolve=resolve) as (gateway, _):
            with pytest.raises(ConfigError, match=r'host not found in upstream "missing\.test'):
                await gateway.add_virtual_server(proxy("a", "missing.test"))


def test_the_end_of_the_process_waits_for_no_name() -> None:
    with resolver() as resolve:

        async def cancelled() -> None:
            task = asyncio.create_task(in_daemon_thread(lambda: resolve("slow.test")))
            await resolve.until_slow()
            task.cancel()

        asyncio.run(cancelled())
        waiting = [one for one in threading.enumerate() if one.name == "qanat-blocking"]
        assert waiting
        assert all(one.daemon for one in waiting)
