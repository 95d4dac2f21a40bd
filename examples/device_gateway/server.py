"""A message server: `python server.py 127.0.0.1:1001`. Welcomes devices, answers their heartbeats
with its own, and says who is there."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from protocol import HEARTBEAT, LOGIN, WELCOME, Message, pack, receive

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter


async def serve(address: str) -> None:
    """Serve devices until cancelled."""

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await talk(address, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass
        finally:
            writer.close()

    host, _, port = address.rpartition(":")
    server = await asyncio.start_server(connected, host, int(port))
    print(f"{address} serves", flush=True)
    async with server:
        await server.serve_forever()


async def talk(address: str, reader: StreamReader, writer: StreamWriter) -> None:
    """Talk to one device, until it is silent for three heartbeats."""
    async with asyncio.timeout(10):
        login = await receive(reader)
    if login.type != LOGIN:
        return
    devid = login.body["devid"]
    writer.write(pack(Message(WELCOME, login.wait, {"server": address})))
    print(f"{devid} came", flush=True)
    while True:
        async with asyncio.timeout(3 * login.wait):
            message = await receive(reader)
        if message.type == HEARTBEAT:
            print(f"{devid} is alive", flush=True)
            writer.write(pack(Message(HEARTBEAT, login.wait, {"count": message.body["count"]})))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(sys.argv[1]))
