"""The protocol of the devices: a header of six bytes (type, version, seconds between heartbeats,
length of the body), then a body of JSON."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from asyncio import StreamReader

HEADER = struct.Struct(">ccHH")
VERSION = b"1"
LOGIN, WELCOME, HEARTBEAT = b"L", b"W", b"H"


class Message(NamedTuple):
    """A message of either side."""

    type: bytes
    wait: int
    body: dict[str, Any]


def pack(message: Message) -> bytes:
    """Write a message as bytes."""
    body = json.dumps(message.body).encode()
    return HEADER.pack(message.type, VERSION, message.wait, len(body)) + body


async def receive(reader: StreamReader) -> Message:
    """Read a message; raise `IncompleteReadError` at the end of the connection."""
    kind, _, wait, length = HEADER.unpack(await reader.readexactly(HEADER.size))
    return Message(kind, wait, json.loads(await reader.readexactly(length)))
