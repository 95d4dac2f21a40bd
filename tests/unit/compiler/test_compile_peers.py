"""`peer` of `tunnels`: the words that it takes, and what is said of others."""

from __future__ import annotations

import pytest

from qanat.compiler.compilation import Refused
from qanat.compiler.tunnel_peers import PeerSpec, holder_of, peer_object, read_peer

KEY = "ed25519:" + "0a" * 32


def test_a_peer_without_lists_may_have_what_is_bound() -> None:
    assert read_peer(KEY, {}) == PeerSpec(KEY)
    assert (PeerSpec(KEY).offer, PeerSpec(KEY).consume) == (None, None)


def test_lists_have_names_and_off_is_none() -> None:
    spec = read_peer(KEY, {"tunnels": "home,home-*", "consume": "web", "offer": "off"})
    assert spec == PeerSpec(KEY, ("home", "home-*"), offer=(), consume=("web",))


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("offer=a*b", '"a*b" in "offer" is no name'),
        ("tunnels=a,,b", '"" in "tunnels" is no name'),
    ],
)
def test_bad_words_are_refused(option: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        read_peer(KEY, dict([option.split("=")]))
    assert refused.value.message.startswith(reason)


def test_a_key_belongs_to_one_peer_in_any_spelling() -> None:
    peers = {"one": PeerSpec(KEY)}
    assert holder_of(peers, "two", PeerSpec(KEY.replace("a", "A"))) == "one"
    assert holder_of(peers, "one", PeerSpec(KEY)) is None


def test_the_plan_has_the_key_in_bytes() -> None:
    assert peer_object("x", PeerSpec(KEY)).key == b"\x0a" * 32
