"""What has come of the streams of tunnels and services, and how long openings took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from qanat.control.engine import Engine


class TimesView(msgspec.Struct, frozen=True):
    """How long something took: how often, the sum and the longest, in microseconds.

    Each of the `buckets` is a time in microseconds, and how many took no longer.
    """

    count: int = 0
    sum_us: int = 0
    max_us: int = 0
    buckets: tuple[tuple[int, ...], ...] = ()


class TunnelTally(msgspec.Struct, frozen=True, kw_only=True):
    """Totals of a tunnel since its name was first heard, by reason where there is one."""

    reconnects: int = 0
    refused_by: dict[str, int] = {}
    rejected_by: dict[str, int] = {}
    reset_by: dict[str, int] = {}
    opening: TimesView = TimesView()
    handshakes: TimesView = TimesView()


class ServiceTally(msgspec.Struct, frozen=True):
    """Totals of a service of one kind; `id` is `KIND:NAME`."""

    id: str
    streams: int = 0
    refused_by: dict[str, int] = {}


def service_tallies(engine: Engine) -> dict[str, ServiceTally]:
    """Ask the data plane for the totals of services, by `KIND:NAME`."""
    found = msgspec.msgpack.decode(engine.snapshot("services"), type=list[ServiceTally])
    return {tally.id: tally for tally in found}
