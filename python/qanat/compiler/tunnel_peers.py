"""Peers: gateways that are known by their keys, and what each of them may do here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from qanat.compiler.compilation import Refused
from qanat.compiler.tunnel_plan import TunnelPeer

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = re.compile(r"ed25519:([0-9a-fA-F]{64})")
_PATTERN = re.compile(r"[A-Za-z0-9_.\-]{1,128}\*?|\*")
_NOTHING = "off"


class PeerSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A gateway that is known by its key, and what it may do here.

    Each list has names, with `*` for the rest of one. `tunnels` may be brought up by it, any if
    there are none. `consume` are our remote services that it may open, and `offer` its services
    that our clients are sent to; without a list that is whatever is bound to its tunnels. Rates are
    bytes a second, and `max_streams` the streams that it may have open here, on all of its tunnels
    together; 0 is no limit.
    """

    key: str
    tunnels: tuple[str, ...] = ()
    offer: tuple[str, ...] | None = None
    consume: tuple[str, ...] | None = None
    send_rate: int = 0
    receive_rate: int = 0
    max_streams: int = 0


def read_peer(key: str, values: Mapping[str, str]) -> PeerSpec:
    """Read the key and the lists of `peer`. Raise `Refused`."""
    lists: dict[str, tuple[str, ...]] = {}
    for name in {"tunnels", "offer", "consume"} & set(values):
        may_be_nothing = name != "tunnels" and values[name] == _NOTHING
        lists[name] = () if may_be_nothing else tuple(values[name].split(","))
    spec = PeerSpec(key, lists.get("tunnels", ()), lists.get("offer"), lists.get("consume"))
    fault = peer_fault(spec)
    if fault is not None:
        raise Refused(fault[1])
    return spec


def peer_fault(spec: PeerSpec) -> tuple[str, str] | None:
    """Say which field of a peer cannot be used and why, if one cannot."""
    if not _KEY.fullmatch(spec.key):
        return "key", f'"{spec.key}" is no key: "ed25519:" and 64 hexadecimal digits'
    lists = {"tunnels": spec.tunnels, "offer": spec.offer, "consume": spec.consume}
    for name, patterns in lists.items():
        for pattern in patterns or ():
            if not _PATTERN.fullmatch(pattern):
                text = f'"{pattern}" in "{name}" is no name, with "*" for the rest of it'
                return name, text
    return None


def holder_of(peers: Mapping[str, PeerSpec], name: str, spec: PeerSpec) -> str | None:
    """Find another peer with the same key: whose rules would hold could not be told."""
    key = spec.key.lower()
    found = (other for other, known in peers.items() if known.key.lower() == key)
    return next((other for other in found if other != name), None)


def peer_object(name: str, spec: PeerSpec) -> TunnelPeer:
    """Make the plan object of a peer."""
    return TunnelPeer(
        name=name,
        key=bytes.fromhex(spec.key.partition(":")[2]),
        tunnels=spec.tunnels,
        offer=spec.offer,
        consume=spec.consume,
        send_rate=spec.send_rate,
        receive_rate=spec.receive_rate,
        max_streams=spec.max_streams,
        origin=f"peer {name}",
    )
