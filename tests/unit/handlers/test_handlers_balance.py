"""Peers and the ready-made ways to choose one."""

from __future__ import annotations

import hashlib
import json
import struct
from bisect import bisect_left
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qanat.handlers import (
    ConsistentHash,
    LeastConnections,
    Maglev,
    Peer,
    RandomTwo,
    RoundRobin,
    SmoothWeighted,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

AnyBalancer = ConsistentHash | LeastConnections | Maglev | RandomTwo | RoundRobin | SmoothWeighted
ALL = [ConsistentHash, LeastConnections, Maglev, RandomTwo, RoundRobin, SmoothWeighted]
VECTORS = Path(__file__).parents[2] / "conformance" / "balance.json"


def pick(balancer: AnyBalancer, exclude: Sequence[Peer | str] = ()) -> Peer | None:
    """Pick by a key if there has to be one."""
    if isinstance(balancer, ConsistentHash | Maglev):
        return balancer.pick("key", exclude=exclude)
    return balancer.pick(exclude=exclude)


def test_a_peer_is_its_address_and_options() -> None:
    peer = Peer("10.0.0.1:80", weight=3, tls=True, name="one.test", connect_timeout=0.5, timeout=9)
    assert (peer.address, peer.weight, peer.tls, peer.name) == ("10.0.0.1:80", 3, True, "one.test")
    assert (peer.connect_timeout, peer.timeout) == (0.5, 9.0)
    assert Peer("10.0.0.1:80") == Peer("10.0.0.1:80") != Peer("10.0.0.1:80", weight=2)
    assert len({Peer("[::1]:1"), Peer("[::1]:1"), Peer("unix:/run/s")}) == 2


@pytest.mark.parametrize(
    "address",
    [
        *("", "host", "host:80", "10.0.0.1", "10.0.0.1:99999"),
        *("unix:", "unix:/a\0b", "unix:/" + 107 * "x"),
    ],
)
def test_a_peer_is_literal(address: str) -> None:
    with pytest.raises(ValueError, match="is not IP:PORT"):
        Peer(address)


def test_a_weight_or_a_time_has_to_make_sense() -> None:
    for weight in (-1, 65_536):
        with pytest.raises(ValueError, match="from 0 to 65535"):
            Peer("10.0.0.1:1", weight=weight)
    with pytest.raises(ValueError, match="negative"):
        Peer("10.0.0.1:1", connect_timeout=-1.0)
    with pytest.raises(ValueError, match="negative"):
        Peer("10.0.0.1:1", timeout=-1.0)


def letters(balancer: RoundRobin | SmoothWeighted, count: int) -> str:
    picked = (balancer.pick() for _ in range(count))
    return "".join("abc"[int(str(peer)[13]) - 1] for peer in picked)


def test_turns_follow_the_weights() -> None:
    peers: list[Peer | str] = [Peer("10.0.0.1:1", weight=5), "10.0.0.2:1", "10.0.0.3:1"]
    assert letters(SmoothWeighted(peers), 7) == "aabacaa"
    assert letters(RoundRobin(peers), 14) == "aaaaabcaaaaabc"


@pytest.mark.parametrize("kind", ALL)
def test_a_balancer_without_peers_picks_none(kind: type[AnyBalancer]) -> None:
    balancer = kind()
    assert pick(balancer) is None
    balancer.replace({"10.0.0.1:1": 1, "10.0.0.2:1": 0})
    assert pick(balancer) == Peer("10.0.0.1:1")
    assert pick(balancer, balancer.peers) is None
    assert pick(balancer, ["10.0.0.1:1"]) is None
    balancer.replace([])
    assert pick(balancer) is None


@pytest.mark.parametrize("kind", ALL)
def test_members_are_changed_one_by_one_as_in_a_mapping(kind: type[AnyBalancer]) -> None:
    balancer = kind(["10.0.0.1:1", Peer("10.0.0.2:1", tls=True), Peer("10.0.0.1:1", weight=3)])
    assert list(balancer) == ["10.0.0.1:1", "10.0.0.2:1"]
    assert (balancer["10.0.0.1:1"], len(balancer)) == (3, 2)
    balancer["10.0.0.2:1"] = 7
    balancer["10.0.0.3:1"] = 2
    assert balancer.peers[1] == Peer("10.0.0.2:1", weight=7, tls=True)
    balancer.add(Peer("10.0.0.3:1", name="three"))
    assert balancer.peers[2] == Peer("10.0.0.3:1", name="three")
    del balancer["10.0.0.1:1"]
    assert "10.0.0.1:1" not in balancer
    assert "10.0.0.2:1" in balancer
    for change in (lambda: balancer["10.0.0.1:1"], lambda: balancer.__delitem__("10.0.0.1:1")):
        with pytest.raises(KeyError, match=r"10\.0\.0\.1:1"):
            change()
    with pytest.raises(ValueError, match="is not IP:PORT"):
        balancer["host:1"] = 1
    with pytest.raises(ValueError, match="is not IP:PORT"):
        balancer.replace(["10.0.0.9:1", "host:1"])
    assert list(balancer) == ["10.0.0.2:1", "10.0.0.3:1"]


def test_a_ring_has_bounds() -> None:
    ring = ConsistentHash(["10.0.0.1:1"])
    with pytest.raises(ValueError, match="10485600 points"):
        ring["10.0.0.1:1"] = 65_535
    assert ring["10.0.0.1:1"] == 1
    with pytest.raises(ValueError, match="multiple of 4"):
        ConsistentHash(points=90, compat="ketama")
    with pytest.raises(ValueError, match="ketama"):
        ConsistentHash(compat="chash")  # type: ignore[arg-type]


def ketama(servers: dict[str, int], key: str) -> str:
    """Place a key as libketama does."""

    def numbers(text: str) -> tuple[int, ...]:
        return struct.unpack("<4I", hashlib.md5(text.encode()).digest())

    points = []
    for server, weight in servers.items():
        share = weight / sum(servers.values())
        for number in range(int(share * 40 * len(servers) + 1e-6)):
            points += [(point, server) for point in numbers(f"{server}-{number}")]
    points.sort()
    place = bisect_left(points, (numbers(key)[0], ""))
    return points[place % len(points)][1]


def test_keys_go_where_libketama_puts_them() -> None:
    servers = {"10.0.1.1:11211": 600, "10.0.1.2:11211": 300, "10.0.1.3:11211": 200}
    ring = ConsistentHash(servers, compat="ketama")
    for number in range(500):
        peer = ring.pick(f"key-{number}")
        assert peer is not None
        assert peer.address == ketama(servers, f"key-{number}")


def test_maglev_tables_do_not_depend_on_the_order() -> None:
    addresses = [f"10.0.0.{number}:1000" for number in range(7)]
    one, other = Maglev(addresses), Maglev(addresses[::-1])
    assert [one.pick(f"dev-{n}") for n in range(500)] == [
        other.pick(f"dev-{n}") for n in range(500)
    ]


def test_nobody_counts_what_was_only_picked() -> None:
    balancer = LeastConnections(["10.0.0.1:1"])
    peer = balancer.pick()
    assert peer is not None
    assert balancer.load(peer) == balancer.load("10.0.0.1:1") == 0
    with pytest.raises(ValueError, match="is not IP:PORT"):
        balancer.load("host")


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
        turns = SmoothWeighted(peers(case))
        for _, [address] in case["sessions"]:
            peer = turns.pick()
            assert peer is not None
            assert peer.address == address
