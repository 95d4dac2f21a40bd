"""Virtual servers come and go: the engine, the store and what is shown always agree."""

import asyncio
import errno
from pathlib import Path

import pytest
from tests.harness.engine import MemoryEngine
from tests.harness.live import STREAM, compile_text, live_gateway

from qanat.compiler.virtual_server import VirtualServerRequest
from qanat.config.errors import ConfigError
from qanat.control.errors import (
    Busy,
    ListenRefused,
    PlanRefused,
    ServerExists,
    ServerIsStatic,
    ServerNotFound,
    WorkerLate,
)
from qanat.control.gateway import Done, LiveGateway
from qanat.store.base import StoreError


def server(
    address: str, name: str, body: str = 'return "x";', option: str = ""
) -> VirtualServerRequest:
    return VirtualServerRequest(address, name, body, option)


def dynamic(gateway: LiveGateway) -> list[str]:
    return [view.id for view in gateway.servers() if view.dynamic]


async def test_a_server_joins_the_listener_of_its_address(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        done = await gateway.add_virtual_server(server("0.0.0.0:22222", "Server-17082"))
        assert done.server == "tcp:0.0.0.0:22222/server-17082"
        (change,) = engine.changes[1:]
        assert [one.id for one in change.put.servers] == [done.server]
        assert change.put.listeners == ()
        assert change.settings is None
        assert change.revision == done.revision == gateway.revision


async def test_the_first_server_of_a_new_address_opens_it_and_the_last_closes_it(
    tmp_path: Path,
) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        ident = "tcp:0.0.0.0:23333"
        for name in "abc":
            await gateway.add_virtual_server(server("0.0.0.0:23333", name))
        assert engine.plan.listeners[ident].default_server == f"{ident}/a"
        await gateway.remove_virtual_server("0.0.0.0:23333", "b")
        assert engine.plan.listeners[ident].default_server == f"{ident}/a"
        await gateway.remove_virtual_server("0.0.0.0:23333", "a")
        assert engine.plan.listeners[ident].default_server == f"{ident}/c"
        await gateway.remove_virtual_server("0.0.0.0:23333", "c")
        assert ident not in engine.plan.listeners
        assert gateway.status().listeners[-1].id != ident


async def test_changes_and_their_warnings_are_logged(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        await gateway.add_virtual_server(server("0.0.0.0:22222", "a/b"))
        await gateway.remove_virtual_server("0.0.0.0:22222", "a/b")
        ident = "tcp:0.0.0.0:22222/a/b"
        assert engine.logged == [
            ("warn", 'server name "a/b" has suspicious symbols in server_name:1'),
            ("notice", f'virtual server "{ident}" added, revision 2'),
            ("notice", f'virtual server "{ident}" removed, revision 3'),
        ]


async def test_tcp_and_udp_of_one_port_are_independent(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        await gateway.add_virtual_server(server("0.0.0.0:23333", "a"))
        await gateway.add_virtual_server(server("0.0.0.0:23333  udp", "a"))
        with pytest.raises(ServerNotFound):
            await gateway.remove_virtual_server("0.0.0.0:22222 udp", "a")
        await gateway.remove_virtual_server("0.0.0.0:23333", "a")
        assert dynamic(gateway) == ["udp:0.0.0.0:23333/a"]
        assert "udp:0.0.0.0:23333" in engine.plan.listeners


@pytest.mark.parametrize(
    "address", ["[::]:23333", "unix:/tmp/q.sock", "127.0.0.1:23333", "*:23333"]
)
async def test_every_kind_of_address_can_be_opened_and_closed(tmp_path: Path, address: str) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        before = engine.plan.objects()
        await gateway.add_virtual_server(server(address, "a"))
        assert len(engine.plan.listeners) == len(before.listeners) + 1
        await gateway.remove_virtual_server(address, "A")
        assert engine.plan.objects() == before


async def test_a_specific_address_shares_the_socket_of_its_wildcard(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        await gateway.add_virtual_server(server("127.0.0.1:22222", "a"))
        assert engine.plan.listeners["tcp:127.0.0.1:22222"].parent == "tcp:0.0.0.0:22222"


async def test_a_listener_gets_a_socket_of_its_own_when_its_wildcard_goes(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        await gateway.add_virtual_server(server("0.0.0.0:23333", "a"))
        await gateway.add_virtual_server(server("127.0.0.1:23333", "a"))
        await gateway.remove_virtual_server("0.0.0.0:23333", "a")
        assert engine.plan.listeners["tcp:127.0.0.1:23333"].parent is None


async def test_a_taken_name_is_refused_in_any_case(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        await gateway.add_virtual_server(server("0.0.0.0:22222", "a"))
        for name in ("A", '"a"', "static.example.com", "STATIC.example.com"):
            with pytest.raises(ServerExists):
                await gateway.add_virtual_server(server("0.0.0.0:22222", name))
        assert len(engine.changes) == 2


async def test_a_server_of_the_file_cannot_be_removed(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, _):
        for name in ('""', "static.example.com"):
            with pytest.raises(ServerIsStatic):
                await gateway.remove_virtual_server("0.0.0.0:22222", name)


async def test_upstreams_and_certificates_live_as_long_as_someone_needs_them(
    tmp_path: Path,
) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        before = engine.plan.objects()
        body = "proxy_pass 127.0.0.1:9000"
        await gateway.add_virtual_server(server("0.0.0.0:22222", "a", body))
        await gateway.add_virtual_server(server("0.0.0.0:22222", "b", body))
        await gateway.add_virtual_server(server("0.0.0.0:22222", "c", "proxy_pass group;"))
        assert list(engine.plan.upstreams) == ["group", "127.0.0.1:9000"]
        await gateway.remove_virtual_server("0.0.0.0:22222", "a")
        assert "127.0.0.1:9000" in engine.plan.upstreams
        await gateway.remove_virtual_server("0.0.0.0:22222", "b")
        await gateway.remove_virtual_server("0.0.0.0:22222", "c")
        assert engine.plan.objects() == before


@pytest.mark.parametrize("step", ["prepare", "commit", "store"])
async def test_a_change_that_fails_anywhere_leaves_no_trace(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        await gateway.add_virtual_server(server("0.0.0.0:23333", "stays"))
        before = (engine.plan.objects(), gateway.servers(), gateway.revision)
        failure: Exception = PlanRefused("servers", "x", "", "no", "")
        with monkeypatch.context() as patch:
            if step == "store":
                failure = StoreError("disk full")

                async def fail(*_: object) -> None:
                    raise failure

                patch.setattr(gateway._store, "apply", fail)
            else:
                engine.fail_next[step] = failure
            with pytest.raises(type(failure)):
                await gateway.add_virtual_server(server("0.0.0.0:23334", "goes"))
        assert (engine.plan.objects(), gateway.servers(), gateway.revision) == before
        assert engine.aborted == (step == "store")
        engine._prepared.clear()
        # Nothing of the refused server stands in the way of the next, or comes back.
        await gateway.add_virtual_server(server("0.0.0.0:23335", "next"))
    async with live_gateway(tmp_path) as (gateway, engine):
        assert dynamic(gateway) == ["tcp:0.0.0.0:23333/stays", "tcp:0.0.0.0:23335/next"]


async def test_a_change_that_a_worker_is_late_with_is_made_all_the_same(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        commit = engine.commit

        def commit_late(ticket: int) -> None:
            commit(ticket)
            raise WorkerLate("worker 0 does not answer")

        engine.commit = commit_late  # type: ignore[method-assign]  # what a slow worker does
        with pytest.raises(WorkerLate):
            await gateway.add_virtual_server(server("0.0.0.0:23333", "a"))
        assert "tcp:0.0.0.0:23333/a" in engine.plan.servers
        assert dynamic(gateway) == ["tcp:0.0.0.0:23333/a"]
        assert ("alert", "worker 0 does not answer") in engine.logged
        with pytest.raises(ServerExists):
            await gateway.add_virtual_server(server("0.0.0.0:23333", "a"))
        await gateway.reload(compile_text(tmp_path, STREAM.replace("static.", "other.")))
        engine.commit = commit  # type: ignore[method-assign]
        await gateway.remove_virtual_server("0.0.0.0:23333", "a")
        names = [name for one in gateway.servers() for name in one.names]
        assert "other.example.com" in names


async def test_a_restart_brings_everything_back(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        for name in "abc":
            await gateway.add_virtual_server(server("0.0.0.0:23333", name, option="mesh"))
        await gateway.remove_virtual_server("0.0.0.0:23333", "a")
        await gateway.add_virtual_server(server("0.0.0.0:22223 udp", "u"))
        before, revision = engine.plan.objects(), gateway.revision
    async with live_gateway(tmp_path) as (gateway, engine):
        assert engine.plan.objects() == before
        assert engine.plan.listeners["tcp:0.0.0.0:23333"].mesh
        assert gateway.revision > revision


async def test_a_stored_server_that_no_longer_fits_is_kept_and_reported(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, _):
        await gateway.add_virtual_server(server("0.0.0.0:22222", "a", "proxy_pass group;"))
        await gateway.add_virtual_server(server("0.0.0.0:22222", "b"))
    smaller = "stream { server { listen 22222; server_name b; return x; } }"
    async with live_gateway(tmp_path, smaller) as (gateway, engine):
        assert dynamic(gateway) == []
        assert [skipped.name for skipped in gateway.status().skipped] == ["a", "b"]
        assert [level for level, _ in engine.logged] == ["error", "error"]
        await gateway.remove_virtual_server("0.0.0.0:22222", "b")
        assert [skipped.name for skipped in gateway.status().skipped] == ["a"]
    async with live_gateway(tmp_path) as (gateway, _):
        assert dynamic(gateway) == ["tcp:0.0.0.0:22222/a"]
        assert gateway.status().skipped == ()


async def test_a_stored_listener_that_cannot_be_bound_is_no_reason_not_to_start(
    tmp_path: Path,
) -> None:
    async with live_gateway(tmp_path) as (gateway, _):
        await gateway.add_virtual_server(server("0.0.0.0:23333", "a"))
        await gateway.add_virtual_server(server("0.0.0.0:22222", "b"))
    engine = MemoryEngine()
    ident = "tcp:0.0.0.0:23333"
    engine.refuse_listeners[ident] = ListenRefused(ident, errno.EADDRINUSE)
    async with live_gateway(tmp_path, engine=engine) as (gateway, _):
        assert dynamic(gateway) == ["tcp:0.0.0.0:22222/b"]
        (skipped,) = gateway.status().skipped
        assert skipped.message == "bind() to 0.0.0.0:23333 failed (98: Address already in use)"


async def test_a_listener_of_the_file_that_cannot_be_bound_is_one(tmp_path: Path) -> None:
    engine = MemoryEngine()
    ident = "tcp:0.0.0.0:22222"
    engine.refuse_listeners[ident] = ListenRefused(ident, errno.EADDRINUSE)
    with pytest.raises(ListenRefused):
        async with live_gateway(tmp_path, engine=engine):
            pass


async def test_a_reload_is_a_difference_and_keeps_the_servers_of_the_api(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        await gateway.add_virtual_server(server("0.0.0.0:23333", "a"))
        await gateway.add_virtual_server(server("0.0.0.0:23333", "b"))
        text = STREAM.replace('"static"', '"changed"').replace(
            "stream {", 'stream { server { listen 23333; return "file"; }'
        )
        await gateway.reload(compile_text(tmp_path, text))
        change = engine.changes[-1]
        assert {one.id for one in change.put.servers} == {
            "tcp:0.0.0.0:22222/static.example.com",
            "tcp:0.0.0.0:23333/",
        }
        assert change.remove.servers == ()
        assert engine.plan.listeners["tcp:0.0.0.0:23333"].default_server == "tcp:0.0.0.0:23333/"
        for name in "ab":
            await gateway.remove_virtual_server("0.0.0.0:23333", name)
        assert "tcp:0.0.0.0:23333" in engine.plan.listeners


async def test_a_server_keeps_its_kind_of_listener_when_the_file_gives_the_listener_up(
    tmp_path: Path,
) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        await gateway.add_virtual_server(server("0.0.0.0:22222", "a"))
        text = STREAM.replace("listen 22222", "listen 22229")
        await gateway.reload(compile_text(tmp_path, text))
        listener = engine.plan.listeners["tcp:0.0.0.0:22222"]
        assert listener.mesh
        assert listener.default_server == "tcp:0.0.0.0:22222/a"


async def test_a_reload_changes_the_limits_of_the_api(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, _):
        text = "config_req_pool_size 1; dyn_sendmsg_rpc_timeout 60000;" + STREAM
        await gateway.reload(compile_text(tmp_path, text))
        first, second = await asyncio.gather(
            gateway.add_virtual_server(server("0.0.0.0:23333", "a")),
            gateway.add_virtual_server(server("0.0.0.0:23333", "b")),
            return_exceptions=True,
        )
        assert isinstance(first, Done)
        assert isinstance(second, Busy)


@pytest.mark.parametrize(
    "text",
    [
        STREAM.replace("upstream group", "upstream other"),
        STREAM.replace("static.example.com", "a"),
    ],
)
async def test_a_reload_that_a_server_of_the_api_does_not_fit_is_refused_whole(
    tmp_path: Path, text: str
) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        await gateway.add_virtual_server(server("0.0.0.0:22222", "a", "proxy_pass group;"))
        before = (engine.plan.objects(), gateway.revision)
        with pytest.raises(ConfigError, match=r'virtual server "a" of tcp:0\.0\.0\.0:22222'):
            await gateway.reload(compile_text(tmp_path, text))
        assert (engine.plan.objects(), gateway.revision) == before


async def test_a_reload_that_the_engine_refuses_changes_nothing(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, engine):
        before = engine.plan.objects()
        engine.fail_next["prepare"] = ListenRefused("tcp:0.0.0.0:1", errno.EACCES)
        with pytest.raises(ListenRefused):
            await gateway.reload(compile_text(tmp_path, STREAM.replace("22222", "1")))
        assert engine.plan.objects() == before
        await gateway.add_virtual_server(server("0.0.0.0:22222", "a"))
