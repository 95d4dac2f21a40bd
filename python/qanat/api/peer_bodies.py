"""Bodies of requests about peers."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from qanat.api.limit_bodies import Rate, Streams, with_rates
from qanat.compiler.tunnel_peers import PeerSpec


class PeerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A gateway that is known by its `key`, `ed25519:` and 64 hexadecimal digits.

    Lists hold names, with `*` for the rest of one: `tunnels` that it may bring up here (any if
    empty), `consume` for our remote services that it may open, `offer` for its services that our
    clients are sent to. Null is whatever is bound, an empty list is nothing. Rates are bytes a
    second and `max_streams` the streams that it may have open here, of all its tunnels; 0 is no
    limit.
    """

    key: str
    tunnels: tuple[str, ...] = ()
    offer: tuple[str, ...] | None = None
    consume: tuple[str, ...] | None = None
    send_rate: Rate = 0
    receive_rate: Rate = 0
    max_streams: Streams = 0

    def spec(self) -> PeerSpec:
        """Make the peer. Raise `InvalidRequest`."""
        return PeerSpec(**with_rates(msgspec.structs.asdict(self)))


class PeerPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields of a peer that change, with those streams that are no longer allowed."""

    key: str | UnsetType = UNSET
    tunnels: tuple[str, ...] | UnsetType = UNSET
    offer: tuple[str, ...] | UnsetType | None = UNSET
    consume: tuple[str, ...] | UnsetType | None = UNSET
    send_rate: Rate | UnsetType = UNSET
    receive_rate: Rate | UnsetType = UNSET
    max_streams: Streams | UnsetType = UNSET

    def fields(self) -> dict[str, Any]:
        """Name the fields of the peer that change."""
        given = msgspec.structs.asdict(self).items()
        return with_rates({name: value for name, value in given if value is not UNSET})
