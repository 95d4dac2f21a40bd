"""What all sources of peers do: load within a time limit, follow changes, come back after losses.

The last good list stays: while the store is away, when the list is gone or empty, and for each
entry that was good before and is not now.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import msgspec

from qanat._native import Peer
from qanat.handlers.background import OWNER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from qanat._native import Balancer

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


class SourceError(Exception):
    """A list of peers cannot be had: the message says from where, and why.

    Raised in a function of `on_startup`, it refuses the start or the reload.
    """


class PeerSource(ABC):
    """A list of peers that somebody else keeps.

    An entry is an address (`10.0.0.1:1000`), an address and a weight (`10.0.0.1:1000 2`), or JSON:
    `{"address": "10.0.0.1:1000", "weight": 2}`. Entries that are none of these are passed over,
    with one line in the error log. `timeout` is how many seconds one exchange with the store may
    take; after `poll` seconds without news the list is read anew, in case some were lost.
    """

    def __init__(self, name: str, *, timeout: float, poll: float) -> None:
        self.name = name
        self.timeout = timeout
        self.poll = poll
        self._good: dict[str, Peer] = {}
        self._bad: dict[str, str] = {}

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The last good list, in the order of its keys; empty before `load`."""
        return tuple(self._good.values())

    async def load(self) -> tuple[Peer, ...]:
        """Read the list.

        Raise `SourceError` if that is not done within `timeout` seconds, fails, or finds no peer.
        """
        try:
            async with asyncio.timeout(self.timeout):
                self._accept(await self._read())
        except self._failures() as error:
            raise SourceError(f"{self.name}: {_said(error)}") from error
        if not self._good:
            raise SourceError(f"{self.name} has no peers")
        return self.peers

    async def follow(self, balancer: Balancer) -> None:
        """Keep the members of a balancer those of the list, for ever: for `background()`.

        While the store is away its last good list stays, and the error log has one line.
        """
        if self._good:
            balancer.replace(self.peers)
        async for peers in self:
            balancer.replace(peers)

    async def __aiter__(self) -> AsyncIterator[tuple[Peer, ...]]:
        """Iterate over the list as it changes, for ever; losses of the store are waited out."""
        pause, is_away = _FIRST_PAUSE_S, False
        while True:
            try:
                async for entries in self._watch():
                    if is_away:
                        self._log("warn", f"{self.name} is back")
                    pause, is_away = _FIRST_PAUSE_S, False
                    if self._accept(entries):
                        yield self.peers
            except self._failures() as error:
                if not is_away:
                    self._log("error", f"{self.name} is away, its last list stays: {_said(error)}")
                is_away = True
            # Many gateways that lost the same store do not come back at the same moment.
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    @abstractmethod
    async def _read(self) -> Mapping[str, str]:
        """Read all entries, by a key that stays the same when an entry changes."""

    @abstractmethod
    def _watch(self) -> AsyncIterator[Mapping[str, str]]:
        """Read all entries now, and after each change; end, or raise, when the store is lost."""

    @abstractmethod
    def _failures(self) -> tuple[type[Exception], ...]:
        """List the exceptions that mean that the store is away or does not answer as it should."""

    def _accept(self, entries: Mapping[str, str]) -> bool:
        """Take over what is good of a list; tell whether that changes anything."""
        good: dict[str, Peer] = {}
        for key, text in sorted(entries.items()):
            try:
                good[key] = parse_entry(text)
                self._bad.pop(key, None)
            except ValueError as error:
                if self._bad.get(key) != text:
                    self._bad[key] = text
                    self._log("error", f'{self.name} has a bad entry "{key}": {error}')
                if key in self._good:
                    good[key] = self._good[key]
        self._bad = {key: text for key, text in self._bad.items() if key in entries}
        if not good and self._good:
            self._log("error", f"{self.name} has no peers any more, its last list stays")
            return False
        changed = list(good.items()) != list(self._good.items())
        self._good = good
        return changed

    def _log(self, level: str, text: str) -> None:
        tasks = OWNER.get()
        if tasks is None:
            logging.getLogger("qanat").warning("%s", text)
        else:
            tasks.log(level, text)


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    address: str
    weight: int = 1


def parse_entry(text: str) -> Peer:
    """Make a peer of an entry. Raise `ValueError` that says what is wrong with it."""
    if text.lstrip().startswith("{"):
        try:
            entry = msgspec.json.decode(text, type=_Entry)
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from None
    else:
        address, _, weight = text.strip().partition(" ")
        if weight and not weight.strip().isdecimal():
            raise ValueError(f'"{weight.strip()}" is not a weight')
        entry = _Entry(address, int(weight or 1))
    if not 1 <= entry.weight <= 0xFFFF:
        raise ValueError(f"{entry.weight} is not a weight from 1 to 65535")
    return Peer(entry.address, weight=entry.weight)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
