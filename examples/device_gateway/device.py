"""Devices: `python device.py d-1 d-2 …`. Each keeps one connection to the gateway, sends heartbeats
over it, and comes back when it is lost. `WAIT` is the number of seconds between heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time

from protocol import HEARTBEAT, LOGIN, Message, pack, receive

GATEWAY = "127.0.0.1:9000"
WAIT = int(os.environ.get("WAIT", "30"))


async def live(devid: str) -> None:
    """Be a device, for ever. It comes back at once, and more slowly if that is in vain."""
    pause = 0.1
    while True:
        began = time.monotonic()
        try:
            await connect(devid)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            print(f"{devid} lost its server: {type(error).__name__}", flush=True)
        pause = 0.1 if time.monotonic() - began > pause else min(2 * pause, 5)
        await asyncio.sleep(pause)


async def connect(devid: str) -> None:
    """Log in, then send heartbeats and expect those of the server; raise if the connection ends."""
    host, _, port = GATEWAY.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(pack(Message(LOGIN, WAIT, {"devid": devid})))
        async with asyncio.timeout(10):
            welcome = await receive(reader)
        print(f"{devid} is at {welcome.body['server']}", flush=True)
        async with asyncio.TaskGroup() as both:
            both.create_task(listen(devid, reader))
            both.create_task(beat(writer))
    except* (OSError, asyncio.IncompleteReadError, TimeoutError) as errors:
        raise errors.exceptions[0] from None
    finally:
        writer.close()


async def beat(writer: asyncio.StreamWriter) -> None:
    """Send a heartbeat every `WAIT` seconds."""
    count = 0
    while True:
        await asyncio.sleep(WAIT)
        count += 1
        writer.write(pack(Message(HEARTBEAT, WAIT, {"count": count})))
        await writer.drain()


async def listen(devid: str, reader: asyncio.StreamReader) -> None:
    """Expect a heartbeat of the server within the time of three."""
    while True:
        async with asyncio.timeout(3 * WAIT):
            message = await receive(reader)
        if message.type == HEARTBEAT:
            print(f"{devid} hears its server {message.body['count']}", flush=True)


async def main(devids: list[str]) -> None:
    """Be all of these devices."""
    await asyncio.gather(*(live(devid) for devid in devids))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1:]))
