"""NJet's `stream_srv`, answer for answer: shared vectors, and what takes more than one request."""

import asyncio
import errno
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.harness.control import control_client
from tests.harness.engine import MemoryEngine
from tests.harness.live import STREAM, live_gateway

import qanat
from qanat.control.errors import ListenRefused, PlanRefused
from qanat.store.base import Change, StoreError

RESOURCE = "/api/v1/stream_srv"
VECTORS = json.loads((Path(__file__).parents[2] / "conformance" / "njet.json").read_text())
ADD = {
    "type": "add",
    "addr_port": "0.0.0.0:23333",
    "server_name": "a",
    "server_body": 'return "x";',
}
SUCCESS = b'{"code":0,"msg":"success."}'


async def send(client: httpx.AsyncClient, request: dict[str, Any]) -> httpx.Response:
    method = "POST" if request["type"] == "add" else "PUT"
    return await client.request(method, RESOURCE, content=json.dumps(request))


@pytest.mark.conformance
@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
async def test_the_answer_to(tmp_path: Path, case: dict[str, Any]) -> None:
    async with (
        live_gateway(tmp_path, VECTORS["config"].removeprefix("events {}\n")) as (gateway, engine),
        control_client(gateway) as client,
    ):
        for request in case.get("given", ()):
            assert (await send(client, request)).content == SUCCESS
        before = engine.plan.objects()
        request = case["request"] or {}
        content = request["raw"] if "raw" in request else json.dumps(request, ensure_ascii=False)
        response = await client.request(case["method"], case["path"], content=content.encode())
        assert response.text == case["answer"]
        assert response.status_code == case["status"]
        assert response.headers["content-type"] == case["content_type"]
        assert response.headers["server"] == f"qanat/{qanat.__version__}"
        if response.content != SUCCESS:
            assert engine.plan.objects() == before
            assert engine.aborted == 0


async def test_success_is_27_bytes_whatever_the_content_type(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, _), control_client(gateway) as client:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response = await client.post(RESOURCE, content=json.dumps(ADD), headers=headers)
        assert response.content == SUCCESS
        assert response.headers["content-length"] == "27"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [1024 * 1024 + 1, 9 * 1024 * 1024])
async def test_a_body_over_one_mebibyte(tmp_path: Path, size: int, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 65536):
            yield b" " * min(65536, size - start)

    async with live_gateway(tmp_path) as (gateway, _), control_client(gateway) as client:
        content = pieces() if chunked else b" " * size
        response = await client.post(RESOURCE, content=content)
        assert response.status_code == 413
        assert response.headers["content-type"] == "text/html"
        assert "<h1>413 Request Entity Too Large</h1>" in response.text
        response = await client.post(RESOURCE, content=b" " * (1024 * 1024))
        assert response.status_code == 400


async def test_a_body_that_is_no_text(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, _), control_client(gateway) as client:
        deep = b'{"type":' + b"[" * 200_000
        for body in (b'{"type":"\xff\xfe"}', json.dumps(ADD).encode("utf-16"), deep):
            response = await client.post(RESOURCE, content=body)
            assert response.json() == {"code": 4, "msg": "json parser error!"}


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EADDRINUSE, "Port 23333 is already in use in checking port in addr_port:1"),
        (
            errno.EADDRNOTAVAIL,
            "bind failed in checking port (99: Cannot assign requested address) in addr_port:1",
        ),
    ],
)
async def test_an_address_that_cannot_be_bound(tmp_path: Path, number: int, message: str) -> None:
    engine = MemoryEngine()
    engine.refuse_listeners["tcp:0.0.0.0:23333"] = ListenRefused("tcp:0.0.0.0:23333", number)
    async with (
        live_gateway(tmp_path, engine=engine) as (gateway, _),
        control_client(gateway) as client,
    ):
        response = await send(client, ADD)
        assert (response.status_code, response.json()) == (200, {"code": 4, "msg": message})


async def test_a_log_that_cannot_be_opened_is_refused_at_its_line(tmp_path: Path) -> None:
    engine = MemoryEngine()
    reason = f'open() "{tmp_path}/logs/no/x.log" failed (2: No such file or directory)'
    refused = PlanRefused("servers", "tcp:0.0.0.0:23333/a", "error_log", reason, "server_body")
    engine.refuse_listeners["tcp:0.0.0.0:23333"] = refused
    async with (
        live_gateway(tmp_path, engine=engine) as (gateway, _),
        control_client(gateway) as client,
    ):
        body = "error_log logs/a.log;\nerror_log logs/no/x.log;\nreturn x;"
        response = await send(client, ADD | {"server_body": body})
        assert response.json() == {"code": 4, "msg": f"{reason} in server_body:2"}


async def test_a_refused_request_harms_no_server_that_was_added_before(tmp_path: Path) -> None:
    async with live_gateway(tmp_path) as (gateway, engine), control_client(gateway) as client:
        assert (await send(client, ADD)).content == SUCCESS
        plan = engine.plan.objects()
        refused = ADD | {"addr_port": "0.0.0.0:23334", "listen_option": "ssl"}
        assert (await send(client, refused)).json()["code"] == 4
        assert engine.plan.objects() == plan
        assert (await send(client, ADD | {"type": "del"})).content == SUCCESS


async def test_a_store_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise StoreError("disk full")

    async with live_gateway(tmp_path) as (gateway, _), control_client(gateway) as client:
        monkeypatch.setattr(gateway._store, "apply", fail)
        response = await send(client, ADD)
        assert (response.status_code, response.json()) == (500, {"code": 4, "msg": "disk full"})
        monkeypatch.undo()
        assert (await send(client, ADD)).content == SUCCESS


async def test_too_many_requests_and_too_little_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    limits = "config_req_pool_size 1; dyn_sendmsg_rpc_timeout 50;"
    async with (
        live_gateway(tmp_path, limits + STREAM) as (gateway, _),
        control_client(gateway) as client,
    ):
        store_apply = gateway._store.apply

        async def slow(changes: tuple[Change, ...], revision: int) -> None:
            await gate.wait()
            await store_apply(changes, revision)

        monkeypatch.setattr(gateway._store, "apply", slow)
        late, busy = await asyncio.gather(
            send(client, ADD), send(client, ADD | {"server_name": "b"})
        )
        assert late.status_code == 500
        assert late.text == '{\n  "code": 500,\n  "msg": "rpc timeout"\n}'
        assert busy.status_code == 503
        assert busy.json()["msg"].startswith("1 changes are in progress")
        gate.set()
