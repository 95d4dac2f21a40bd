"""Memcached's text protocol (protocol.txt of memcached 1.6), on a `SharedDict`.

A value is kept with its flags in front. All handlers share a thread, so what a command does without
an `await` in between is atomic, as it has to be.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from typing import TYPE_CHECKING

from qanat import BufferLimitError, SharedDict, __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from qanat import ContentSession

items = SharedDict("memcached", size="64m")

FLAGS = struct.Struct(">I")
LONGEST_KEY = 250
LARGEST_VALUE = 1024 * 1024
MONTH = 30 * 24 * 3600  # a larger expiry is a moment, not a time
WRAP = 2**64

BAD_LINE = b"CLIENT_ERROR bad command line format\r\n"


async def serve(session: ContentSession) -> None:
    """Answer commands until the client quits or ends."""
    reader, writer = session.reader, session.writer
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return
        except BufferLimitError:
            writer.write(b"CLIENT_ERROR line too long\r\n")
            return
        name, *words = line.split() or [b""]
        if name == b"quit":
            return
        is_quiet = bool(words) and words[-1] == b"noreply"
        if is_quiet:
            words.pop()
        try:
            answer = await command(session, name, words)
        except asyncio.IncompleteReadError:
            return
        except ValueError:
            answer = BAD_LINE
        if not is_quiet:
            writer.write(answer)
            await writer.drain()


async def command(session: ContentSession, name: bytes, words: list[bytes]) -> bytes:
    """Do what a line asks for, with the data block that follows some of them."""
    if name in STORAGE:
        return await store(session, name, words)
    if name in (b"get", b"gets"):
        return retrieve(words, with_version=name == b"gets") if words else b"ERROR\r\n"
    if name not in OTHERS:
        return b"ERROR\r\n"
    return OTHERS[name](*arguments(name, words))


def arguments(name: bytes, words: list[bytes]) -> list[bytes]:
    """Return the words of a command, if there are as many as it takes."""
    least, most = COUNTS[name]
    if not least <= len(words) <= most:
        raise ValueError
    return words


def key_of(word: bytes) -> bytes:
    """Return a key; raise `ValueError` if it is too long or has control characters."""
    if len(word) > LONGEST_KEY or min(word) <= ord(" ") or 127 in word:
        raise ValueError
    return word


def number_of(word: bytes) -> int:
    """Return an unsigned number; raise `ValueError` if it is none."""
    if not word.isdigit():
        raise ValueError
    return int(word)


def time_to_live(expiry: int) -> float | None:
    """Return the seconds that are left, `None` for ever; at most 0 is over."""
    if expiry > MONTH:
        return expiry - time.time()
    return float(expiry) if expiry else None


# Storage: set, add, replace, append, prepend, cas.


async def store(session: ContentSession, name: bytes, words: list[bytes]) -> bytes:
    """Read the data block and keep it, if the command allows it."""
    if len(words) != 4 + (name == b"cas"):
        raise ValueError
    size = number_of(words[3])
    data = await data_block(session, size)
    if data is None:
        return b"SERVER_ERROR object too large for cache\r\n"
    key, flags, expiry = key_of(words[0]), number_of(words[1]), int(words[2])
    if flags >= 2**32:
        raise ValueError
    if not data.endswith(b"\r\n"):
        if b"\n" not in data[-2:]:
            await session.reader.readuntil(b"\n")
        return b"CLIENT_ERROR bad data chunk\r\n"
    version = number_of(words[4]) if name == b"cas" else 0
    value = FLAGS.pack(flags) + data[:-2]
    return keep(name, key, value, time_to_live(expiry), version)


async def data_block(session: ContentSession, size: int) -> bytes | None:
    """Read a data block and what ends it; skip one that is too large."""
    if size <= LARGEST_VALUE:
        return await session.reader.readexactly(size + 2)
    left = size + 2
    while left and (skipped := await session.reader.read(min(left, 65536))):
        left -= len(skipped)
    return None


def keep(name: bytes, key: bytes, value: bytes, ttl: float | None, version: int) -> bytes:
    """Store a value as the command says, for as long as it is to last."""
    if name in (b"append", b"prepend"):
        found = items.get(key)
        if not isinstance(found, bytes):
            return b"NOT_STORED\r\n"
        added = value[FLAGS.size :]
        head, old = found[: FLAGS.size], found[FLAGS.size :]
        value = head + (old + added if name == b"append" else added + old)
        if len(value) > FLAGS.size + LARGEST_VALUE:
            return b"SERVER_ERROR object too large for cache\r\n"
        ttl = items.ttl(key)
    is_over = ttl is not None and ttl <= 0
    lasting = None if is_over else ttl
    if name == b"cas":
        try:
            if not items.compare_and_set(key, version, value, lasting):
                return b"EXISTS\r\n"
        except KeyError:
            return b"NOT_FOUND\r\n"
    elif not STORAGE[name](key, value, lasting):
        return b"NOT_STORED\r\n"
    if is_over:
        items.delete(key)
    return b"STORED\r\n"


def set_always(key: bytes, value: bytes, ttl: float | None) -> bool:
    """Store whatever is there."""
    items.set(key, value, ttl)
    return True


# Everything else: each takes the words of its line.


def retrieve(keys: list[bytes], *, with_version: bool) -> bytes:
    """Answer get and gets."""
    answer = bytearray()
    for key in keys:
        found = items.get_with_version(key_of(key))
        if found is None or not isinstance(found[0], bytes):
            continue
        value, version = found
        (flags,) = FLAGS.unpack_from(value)
        tail = f" {version}" if with_version else ""
        head = f" {flags} {len(value) - FLAGS.size}{tail}\r\n"
        answer += b"VALUE " + key + head.encode() + value[FLAGS.size :] + b"\r\n"
    return bytes(answer + b"END\r\n")


def delete(key: bytes, zero: bytes = b"0") -> bytes:
    """Answer delete; clients of old send a time, which can only be 0."""
    if zero != b"0":
        raise ValueError
    return b"DELETED\r\n" if items.delete(key_of(key)) else b"NOT_FOUND\r\n"


def increase(key: bytes, by: bytes) -> bytes:
    """Answer incr: 64 bits, which wrap."""
    return count(key, by, lambda value, delta: (value + delta) % WRAP)


def decrease(key: bytes, by: bytes) -> bytes:
    """Answer decr: never below 0."""
    return count(key, by, lambda value, delta: max(value - delta, 0))


def count(key: bytes, by: bytes, change: Callable[[int, int], int]) -> bytes:
    """Change a decimal number; its flags and its time stay."""
    if not by.isdigit() or int(by) >= WRAP:
        return b"CLIENT_ERROR invalid numeric delta argument\r\n"
    found = items.get(key_of(key))
    if not isinstance(found, bytes):
        return b"NOT_FOUND\r\n"
    head, old = found[: FLAGS.size], found[FLAGS.size :]
    if not old.isdigit() or int(old) >= WRAP:
        return b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
    new = str(change(int(old), int(by))).encode()
    items.set(key, head + new, items.ttl(key))
    return new + b"\r\n"


def touch(key: bytes, expiry: bytes) -> bytes:
    """Answer touch."""
    ttl = time_to_live(int(expiry))
    if ttl is not None and ttl <= 0:
        return b"TOUCHED\r\n" if items.delete(key_of(key)) else b"NOT_FOUND\r\n"
    return b"TOUCHED\r\n" if items.expire(key_of(key), ttl) else b"NOT_FOUND\r\n"


_flushes: list[asyncio.TimerHandle] = []  # the one that is to come, if there is one


def flush_all(delay: bytes = b"0") -> bytes:
    """Answer flush_all; a later one takes the place of one that is still to come."""
    seconds = number_of(delay)
    while _flushes:
        _flushes.pop().cancel()
    if seconds:
        _flushes.append(asyncio.get_running_loop().call_later(min(seconds, MONTH), items.clear))
    else:
        items.clear()
    return b"OK\r\n"


def version() -> bytes:
    """Answer version."""
    return f"VERSION {__version__}\r\n".encode()


def stats() -> bytes:
    """Answer stats: the few that say something here."""
    facts = {
        "pid": os.getpid(),
        "time": int(time.time()),
        "version": __version__,
        "curr_items": len(items),
        "bytes": items.used,
        "limit_maxbytes": items.capacity,
        "evictions": items.evictions,
    }
    return "".join(f"STAT {name} {fact}\r\n" for name, fact in facts.items()).encode() + b"END\r\n"


STORAGE: dict[bytes, Callable[[bytes, bytes, float | None], bool]] = {
    b"set": set_always,
    b"add": items.add,
    b"replace": items.replace,
    b"append": items.replace,
    b"prepend": items.replace,
    b"cas": items.replace,
}
OTHERS: dict[bytes, Callable[..., bytes]] = {
    b"delete": delete,
    b"incr": increase,
    b"decr": decrease,
    b"touch": touch,
    b"flush_all": flush_all,
    b"version": version,
    b"stats": stats,
}
COUNTS = {
    b"delete": (1, 2),
    b"incr": (2, 2),
    b"decr": (2, 2),
    b"touch": (2, 2),
    b"flush_all": (0, 1),
    b"version": (0, 0),
    b"stats": (0, 0),
}
