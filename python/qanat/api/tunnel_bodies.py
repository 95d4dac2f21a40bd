"""Bodies of requests about tunnels and services; a key is only ever sent, never shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

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
    """

    dest: str
    peer: str | None = None

    def spec(self) -> TunnelSpec:
        """Make the tunnel."""
        return TunnelSpec(self.dest, self.peer)


class TunnelPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields of a tunnel that change."""

    dest: str | UnsetType = UNSET
    peer: str | UnsetType | None = UNSET

    def fields(self) -> dict[str, Any]:
        """Name the fields of the tunnel that change."""
        return _fields(self, {"dest": "dial"})


class LocalBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
            self.addr, self.key, self.pending_timeout_ms, self.when_down, self.protocol
        )


class LocalPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields of a local service that change; a new `key` is for new streams."""

    addr: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    pending_timeout_ms: Milliseconds | UnsetType = UNSET
    when_down: WhenDown | UnsetType = UNSET
    protocol: Transport | UnsetType = UNSET

    def fields(self) -> dict[str, Any]:
        """Name the fields of the service that change."""
        return _fields(self, {"addr": "address"})


class RemoteBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a service leads to: `addr` is `HOST:PORT` or `unix:PATH`, dialled from here.

    `key` has to be the same at both ends. `proxy_protocol` tells the target who the client is.
    """

    addr: str
    key: str = ""
    connect_timeout_ms: Patience = 3000
    proxy_protocol: ProxyVersion = "off"
    protocol: Transport = "tcp"

    def spec(self) -> RemoteService:
        """Make the service; its addresses are found when it is put."""
        timeout, proxy_protocol = self.connect_timeout_ms, self.proxy_protocol
        return RemoteService(self.addr, (), self.key, timeout, proxy_protocol, self.protocol)


class RemotePatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields of a remote service that change; a new `key` is for new streams."""

    addr: str | UnsetType = UNSET
    key: str | UnsetType = UNSET
    connect_timeout_ms: Patience | UnsetType = UNSET
    proxy_protocol: ProxyVersion | UnsetType = UNSET
    protocol: Transport | UnsetType = UNSET

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
    return {renamed.get(name, name): value for name, value in given if value is not UNSET}
