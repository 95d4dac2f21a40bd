"""Devices to message servers by the id in their login; the list of servers is followed."""

from __future__ import annotations

import json
import os

from protocol import HEADER

from qanat.handlers import (
    BalanceSession,
    ConsistentHash,
    Peer,
    PrereadSession,
    background,
    on_startup,
)
from qanat.handlers.sources import EtcdPeers, RedisPeers

servers = ConsistentHash()


@on_startup
async def follow_servers() -> None:
    """Have the list before the first device comes, and keep it up to date."""
    source = (
        EtcdPeers(["http://127.0.0.1:2379"], "/message_servers/")
        if os.environ.get("SERVERS") == "etcd"
        else RedisPeers("redis://127.0.0.1:6379/0", "message_servers")
    )
    await source.load()
    servers.replace(source.peers)
    background(source.follow(servers))


async def login(session: PrereadSession) -> None:
    """Look at the login, which stays for the message server."""
    *_, length = HEADER.unpack(await session.peek(HEADER.size))
    message = await session.peek(HEADER.size + length)
    try:
        session.ctx.device = str(json.loads(message[HEADER.size :])["devid"])
    except (ValueError, KeyError, TypeError):
        session.reject(400)
    session.ctx.failed = []


def by_device(session: BalanceSession) -> Peer:
    """Choose the server of the device, or the next one on the ring if that cannot be reached."""
    if session.last_failure is not None:
        session.ctx.failed.append(session.last_failure.peer)
    peer = servers.pick(session.ctx.device, exclude=session.ctx.failed)
    if peer is None:
        session.reject(502)
    session.more_tries(1)
    return peer
