"""Peers from redis: a set or list of entries, or a hash of addresses with their weights.

Changes are told by redis itself if `notify-keyspace-events` has `K` and the classes of the key
(`Kghls`), or by whoever changes the list, with a `PUBLISH` on the channel. What neither tells is
found by reading the list every `poll` seconds.
"""

# `typing.override` is not in Python 3.11.
from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from qanat.handlers.sources.source import PeerSource, SourceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable


class RedisPeers(PeerSource):
    """The peers of a key of redis: `RedisPeers("redis://127.0.0.1:6379/0", "servers")`.

    A set or list has entries as `PeerSource` says; in a hash the field is the address, and the
    value its weight. `channel` is where changes are published, `KEY:changed` if it is not given;
    with `notify-keyspace-events Kghls` redis tells them itself.

    Raise `ImportError` without redis-py, which `pip install "qanat[redis]"` installs, and
    `ValueError` for a URL that is none.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        channel: str | None = None,
        timeout: float = 5.0,
        poll: float = 10.0,
    ) -> None:
        try:
            import redis.asyncio as client  # noqa: PLC0415 - only who uses it needs it
        except ImportError as error:
            raise ImportError('RedisPeers needs redis-py: pip install "qanat[redis]"') from error
        super().__init__(f'redis key "{key}"', timeout=timeout, poll=poll)
        self._key = key
        self._channel = channel or f"{key}:changed"
        self._redis_error: type[Exception] = client.RedisError
        self._redis: Any = client.from_url(
            url, decode_responses=True, socket_timeout=timeout, socket_connect_timeout=timeout
        )

    async def _read(self) -> dict[str, str]:  # type: ignore[explicit-override]
        kind = await self._redis.type(self._key)
        match kind:
            case "set":
                found = await cast("Awaitable[set[str]]", self._redis.smembers(self._key))
                return {_address(entry): entry for entry in found}
            case "list":
                listed = await cast("Awaitable[list[str]]", self._redis.lrange(self._key, 0, -1))
                return {_address(entry): entry for entry in listed}
            case "hash":
                weights = await cast("Awaitable[dict[str, str]]", self._redis.hgetall(self._key))
                return {address: f"{address} {weight}" for address, weight in weights.items()}
            case "none":
                return {}
        raise SourceError(f"it is a {kind}, not a set, list or hash")

    async def _watch(self) -> AsyncIterator[dict[str, str]]:  # type: ignore[explicit-override]
        database = self._redis.connection_pool.connection_kwargs.get("db", 0)
        async with aclosing(self._redis.pubsub()) as news:
            async with asyncio.timeout(self.timeout):
                # Before the first read: no change falls between the two.
                await news.subscribe(self._channel, f"__keyspace@{database}__:{self._key}")
            while True:
                async with asyncio.timeout(self.timeout):
                    entries = await self._read()
                yield entries
                await news.get_message(timeout=self.poll)

    def _failures(self) -> tuple[type[Exception], ...]:  # type: ignore[explicit-override]
        return (self._redis_error, SourceError, OSError, TimeoutError)


def _address(entry: str) -> str:
    """Return what stays when the weight of an entry changes, for lines of text."""
    return entry if entry.startswith("{") else entry.strip().partition(" ")[0]
