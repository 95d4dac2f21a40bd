"""Bodies of requests about tunnels and services; a key is only ever sent, never shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from qanat.api.limit_bodies import (
    Rate,
    ServiceRatesBody,
    ServiceRatesPatch,
    Streams,
    bytes_of,
    with_rates,
)
from qanat.compiler.tunnel_limits import RATES
from qanat.compiler.tunnels import LocalService, RemoteService, Transport, TunnelSpec, WhenDown
from qanat.compiler.units import parse_time_ms
from qanat.control.errors import InvalidRequest

LONGEST_MS = 86_400_000

Milliseconds = Annotated[int, Meta(ge=0, le=LONGEST_MS)]
Patience = Annotated[int, Meta(ge=1, le=LONGEST_MS)]
ProxyVersion = Literal["off", "v1", "v2"]


class TunnelBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tunnel to dial: `dest` is `HOST:PORT` of the other end.

    `peer` is who of `peer` in the file must answer there; without it both ends need the secret.
    Rates are bytes a second, or texts such as `500k`; 0 is no limit.
    """

    dest: str
    peer: str | None = None
    send_rate: Rate = 0
    receive_rate: Rate = 0

    def spec(self) -> TunnelSpec:
        """Make the tunnel. Raise `InvalidRequest`."""
        rates = (bytes_of(name, getattr(self, name)) for name in RATES)
        return TunnelSpec(self.dest, self.peer, *rates)


class TunnelPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields of a tunnel that change; rates change under open streams."""

    dest: str | UnsetType = UNSET
    peer: str | UnsetType | None = UNSET
    send_rate: Rate | UnsetType = UNSET
    receive_rate: Rate | UnsetType = UNSET

    def fields(self) -> dict[str, Any]:
        """Name the fields of the tunnel that change."""
        return _fields(self, {"dest": "dial"})


class LocalBody(ServiceRatesBody, frozen=True, forbid_unknown_fields=True):
    """Where clients of a service connect: `addr` is an address, its port 0 for any that is free.

    `key` has to be the same at both ends. While no tunnel is up a client waits so long
    (`when_down` is `hold`), is refused as where nobody listens (`refuse`), or reset (`close`).
    """

    addr: str
    key: str = ""
    pending_timeout_ms: Milliseconds = 5000
    when_down: WhenDown = "hold"
    protocol: Transport = "tcp"

    def spec(self) -> LocalService:
        """Make the service."""
        return LocalService(
            self.addr,
            self.key,
            self.pending_timeout_ms,
            self.when_down,
            self.protocol,
            self.rates(),
        )


class LocalPatch(ServiceRatesPatch, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields of a local service that change; a new `key` is for new streams."""

    addr: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    pending_timeout_ms: Milliseconds | UnsetType = UNSET
    when_down: WhenDown | UnsetType = UNSET
    protocol: Transport | UnsetType = UNSET

    def fields(self) -> dict[str, Any]:
        """Name the fields of the service that change."""
        return _fields(self, {"addr": "address"})


class RemoteBody(ServiceRatesBody, frozen=True, forbid_unknown_fields=True):
    """Where a service leads to: `addr` is `HOST:PORT` or `unix:PATH`, dialled from here.

    `key` has to be the same at both ends. `proxy_protocol` tells the target who the client is.
    More than `max_streams` at once are refused; 0 is any number.
    """

    addr: str
    key: str = ""
    connect_timeout_ms: Patience = 3000
    proxy_protocol: ProxyVersion = "off"
    protocol: Transport = "tcp"
    max_streams: Streams = 0

    def spec(self) -> RemoteService:
        """Make the service; its addresses are found when it is put."""
        return RemoteService(
            self.addr,
            (),
            self.key,
            self.connect_timeout_ms,
            self.proxy_protocol,
            self.protocol,
            self.rates(),
            self.max_streams,
        )


class RemotePatch(ServiceRatesPatch, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields of a remote service that change; a new `key` is for new streams."""

    addr: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    connect_timeout_ms: Patience | UnsetType = UNSET
    proxy_protocol: ProxyVersion | UnsetType = UNSET
    protocol: Transport | UnsetType = UNSET
    max_streams: Streams | UnsetType = UNSET

    def fields(self) -> dict[str, Any]:
        """Name the fields of the service that change."""
        return _fields(self, {"addr": "target"})


def drain_seconds(text: str) -> float:
    """Read how long streams may go on, `30s` as in the file. Raise `InvalidRequest`."""
    time = parse_time_ms(text)
    if time is None or not 0 <= time <= LONGEST_MS:
        raise InvalidRequest("drain", f'`drain` is no time: "{text}"')
    return time / 1000


def _fields(patch: msgspec.Struct, renamed: dict[str, str]) -> dict[str, Any]:
    given = msgspec.structs.asdict(patch).items()
    return with_rates(
        {renamed.get(name, name): value for name, value in given if value is not UNSET}
    )
