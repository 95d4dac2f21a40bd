"""What is in use of the limits of tunnels, services and peers, as the data plane tells of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from qanat.control.engine import Engine


class _Quota(msgspec.Struct, frozen=True):
    """Streams of a peer or a service that are open here, and how often there were too many."""

    id: str
    serving: int = 0
    limited: int = 0


class LimitsSeen(msgspec.Struct, frozen=True):
    """Bytes that the windows of all streams come to, and the streams of peers and services."""

    windows: int
    peers: tuple[_Quota, ...]
    services: tuple[_Quota, ...]

    def peer(self, key: str) -> dict[str, int]:
        """Tell of the streams of a peer, as fields of its view."""
        found = (quota for quota in self.peers if quota.id == key)
        quota = next(found, _Quota(key))
        return {"serving": quota.serving, "limited": quota.limited}

    def limited(self) -> dict[str, int]:
        """Tell how often there were too many streams, by service, `KIND:NAME`."""
        return {quota.id: quota.limited for quota in self.services}


def limits_seen(engine: Engine) -> LimitsSeen:
    """Ask the data plane."""
    return msgspec.msgpack.decode(engine.snapshot("tunnel_limits"), type=LimitsSeen)
