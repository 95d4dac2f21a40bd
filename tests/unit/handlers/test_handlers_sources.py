"""Entries of lists of peers, and what becomes of bad ones."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

import pytest

from qanat.handlers import Peer, RoundRobin
from qanat.handlers.sources import PeerSource, SourceError
from qanat.handlers.sources.source import parse_entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


class LostError(Exception):
    """The store of a test is away."""


class Listed(PeerSource):
    """A list that a test writes: each item is what the store says next."""

    def __init__(self, *says: Mapping[str, str] | None) -> None:
        super().__init__("the list", timeout=1, poll=1)
        self.says = deque(says)

    async def _read(self) -> Mapping[str, str]:  # type: ignore[explicit-override]
        says = self.says.popleft()
        if says is None:
            raise LostError("no route")
        return says

    async def _watch(self) -> AsyncIterator[Mapping[str, str]]:  # type: ignore[explicit-override]
        while self.says:
            yield await self._read()

    def _failures(self) -> tuple[type[Exception], ...]:  # type: ignore[explicit-override]
        return (LostError, TimeoutError)


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("10.0.0.1:1000", Peer("10.0.0.1:1000")),
        ("10.0.0.1:1000 3", Peer("10.0.0.1:1000", weight=3)),
        ("[::1]:1000", Peer("[::1]:1000")),
        ('{"address": "10.0.0.1:1000"}', Peer("10.0.0.1:1000")),
        (' {"address": "10.0.0.1:1000", "weight": 2}', Peer("10.0.0.1:1000", weight=2)),
    ],
)
def test_an_entry_is_an_address_with_a_weight_or_json(text: str, peer: Peer) -> None:
    assert parse_entry(text) == peer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "10.0.0.1:1000 x",
        "10.0.0.1:1000 0",
        "10.0.0.1:1 99999999",
        "{",
        "{}",
        '{"address": "10.0.0.1:1", "wieght": 2}',
        '{"address": 1}',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_entry(text)


async def test_loading_passes_over_bad_entries_with_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entries = {"a": "10.0.0.1:1", "b": "nonsense"}
    source = Listed(entries, entries)
    assert await source.load() == (Peer("10.0.0.1:1"),)
    assert await source.load() == (Peer("10.0.0.1:1"),)
    assert [record.getMessage() for record in caplog.records] == [
        'the list has a bad entry "b": "nonsense" is not IP:PORT, [V6]:PORT or unix:/PATH'
    ]


async def test_a_list_that_cannot_be_loaded_is_an_error() -> None:
    with pytest.raises(SourceError, match=r"^the list: no route$"):
        await Listed(None).load()
    with pytest.raises(SourceError, match=r"^the list has no peers$"):
        await Listed({"a": "nonsense"}).load()


async def test_what_was_good_stays_when_it_turns_bad_or_goes_empty(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    one, two = {"a": "10.0.0.1:1", "b": "10.0.0.2:1"}, {"a": "10.0.0.3:1", "b": "?"}
    source = Listed(one, two, {}, None, {"c": "10.0.0.4:1"})
    seen = []
    async for peers in source:
        seen.append([peer.address for peer in peers])
        if len(seen) == 3:
            break
    assert seen == [
        ["10.0.0.1:1", "10.0.0.2:1"],
        ["10.0.0.3:1", "10.0.0.2:1"],
        ["10.0.0.4:1"],
    ]
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "has no peers any more, its last list stays" in told
    assert "is away, its last list stays: no route" in told
    assert "is back" in told


async def test_following_replaces_the_members_of_a_balancer() -> None:
    balancer = RoundRobin()
    source = Listed({"a": "10.0.0.1:1"}, {"b": "10.0.0.2:1"})
    await source.load()
    async for peers in source:
        balancer.replace(peers)
        break
    assert balancer.peers == (Peer("10.0.0.2:1"),)
