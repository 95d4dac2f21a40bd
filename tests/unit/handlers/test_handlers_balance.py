"""Peers and the ready-made ways to choose one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qanat.handlers import ConsistentHash, Peer, RoundRobin

VECTORS = Path(__file__).parents[2] / "conformance" / "balance.json"


def test_a_peer_is_its_address_and_options() -> None:
    peer = Peer("10.0.0.1:80", weight=3, tls=True, name="one.test", connect_timeout=0.5)
    assert (peer.address, peer.weight, peer.tls, peer.name) == ("10.0.0.1:80", 3, True, "one.test")
    assert peer.connect_timeout == 0.5
    assert Peer("10.0.0.1:80") == Peer("10.0.0.1:80") != Peer("10.0.0.1:80", weight=2)
    assert len({Peer("[::1]:1"), Peer("[::1]:1"), Peer("unix:/run/s")}) == 2


@pytest.mark.parametrize("address", ["", "host", "host:80", "10.0.0.1", "10.0.0.1:99999"])
def test_a_peer_is_literal(address: str) -> None:
    with pytest.raises(ValueError, match="is not IP:PORT"):
        Peer(address)


def test_a_weight_or_a_time_has_to_make_sense() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Peer("10.0.0.1:1", weight=0)
    with pytest.raises(ValueError, match="negative"):
        Peer("10.0.0.1:1", connect_timeout=-1.0)


def test_turns_follow_the_weights() -> None:
    turns = RoundRobin([Peer("10.0.0.1:1", weight=5), "10.0.0.2:1", "10.0.0.3:1"])
    picked = [turns.pick() for _ in range(7)]
    assert "".join(str(peer)[13] for peer in picked) == "1121311"
    assert turns.pick(exclude=turns.peers) is None
    assert RoundRobin().pick() is None


def test_only_the_keys_of_a_member_that_goes_move() -> None:
    ring = ConsistentHash([f"10.0.0.{number}:1000" for number in range(5)])
    keys = [f"dev-{number}" for number in range(2000)]
    before = {key: ring.pick(key) for key in keys}
    gone = ring.peers[2]
    excluded = {key: ring.pick(key, exclude=[gone]) for key in keys}
    ring.replace([peer for peer in ring.peers if peer != gone])
    after = {key: ring.pick(key.encode()) for key in keys}
    assert after == excluded
    assert {before[key] for key in keys if before[key] != after[key]} == {gone}
    assert len(ring) == 4
    ring.replace([])
    assert ring.pick("x") is None


def cases(balance: str) -> list[dict[str, Any]]:
    """Return the vectors of a method in which every peer is simple and alive."""
    found = json.loads(VECTORS.read_text())["cases"]
    return [
        case
        for case in found
        if case["balance"] == balance
        and not any(peer["down"] or peer["backup"] or peer["addresses"] for peer in case["peers"])
        and not any(peer["max_conns"] for peer in case["peers"])
        and all(len(tried) == 1 for _, tried in case["sessions"])
    ]


def peers(case: dict[str, Any]) -> list[Peer]:
    return [Peer(peer["server"], weight=peer["weight"]) for peer in case["peers"]]


@pytest.mark.conformance
def test_keys_go_where_nginx_puts_them() -> None:
    found = cases("hash $remote_addr consistent;")
    assert found
    for case in found:
        ring = ConsistentHash(peers(case))
        for key, [address] in case["sessions"]:
            peer = ring.pick(key)
            assert peer is not None
            assert peer.address == address


@pytest.mark.conformance
def test_turns_are_those_of_nginx() -> None:
    found = cases("")
    assert found
    for case in found:
        turns = RoundRobin(peers(case))
        for _, [address] in case["sessions"]:
            peer = turns.pick()
            assert peer is not None
            assert peer.address == address
