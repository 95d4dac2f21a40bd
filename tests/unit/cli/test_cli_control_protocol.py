"""Connections of the control API are bounded: in time, in the size of a head, and in number."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.harness.live import live_gateway

from qanat.cli import control_protocol
from qanat.cli.control_api import ControlApi
from qanat.compiler.control import ControlEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

STATUS = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENCE = 20


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[str]:
    """Serve a control address; yield the path of its socket."""
    path = f"{directory}/q.sock"
    async with live_gateway(directory) as (gateway, _):
        api = ControlApi(gateway)
        endpoints = (ControlEndpoint(f"unix:{path}"),)
        await api.switch(endpoints, api.bind(endpoints))
        try:
            yield path
        finally:
            await api.close()


async def answers(path: str, request: bytes) -> bytes:
    """Send bytes, and read until the server closes."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"GET /v1/status HTTP/1.1\r\n",
        b"POST /api/v1/stream_srv HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    ],
    ids=["nothing", "head", "body"],
)
async def test_a_client_that_stalls_loses_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: bytes
) -> None:
    monkeypatch.setattr(control_protocol, "EXCHANGE_S", 0.05)
    async with serving(tmp_path) as path:
        assert await answers(path, request_) == b""


async def test_a_head_without_end_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as path:
        request = STATUS[:-2] + b"X-Long: " + b"x" * control_protocol.LARGEST_HEAD
        answer = await answers(path, request)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.endswith(b"The head of the request is too large.")


async def test_requests_on_one_connection_each_have_a_head_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_protocol, "LARGEST_HEAD", len(STATUS))
    async with serving(tmp_path) as path:
        reader, writer = await asyncio.open_unix_connection(path)
        for _ in range(3):
            writer.write(STATUS)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
            assert head.startswith(b"HTTP/1.1 200 ")
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            await asyncio.wait_for(reader.readexactly(length), PATIENCE)
        writer.close()


async def test_connections_beyond_a_number_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_protocol, "MOST_CONNECTIONS", 1)
    async with serving(tmp_path) as path:
        _, first = await asyncio.open_unix_connection(path)
        assert await answers(path, b"") == b""
        first.close()
        await first.wait_closed()
