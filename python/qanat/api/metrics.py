"""What a monitoring system reads of the gateway: metrics as Prometheus takes them.

Names and units follow https://prometheus.io/docs/practices/naming.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prometheus_client import Metric

    from qanat.control.gateway import LiveGateway

    Rows = Iterable[tuple[tuple[str, ...], float]]

_MICROSECONDS = 1e6
# Field of a peer, of a tunnel, of a carrier -> its metric, what it means.
_PEER = {
    "active": ("qanat_peer_connections", "Connections to a peer that are open or being opened."),
    "fails": ("qanat_peer_fails", "Failures of a peer that count now."),
    "selected": ("qanat_peer_selected_total", "How often a peer was chosen."),
}
_TUNNEL = {
    "serving": ("qanat_tunnel_serving", "Streams that the other end of a tunnel has open here."),
    "opened": ("qanat_tunnel_streams_opened_total", "Streams that this gateway has opened."),
    "served": ("qanat_tunnel_streams_served_total", "Streams that this gateway has served."),
    "refused": ("qanat_tunnel_streams_refused_total", "Streams that this gateway has refused."),
    "rejected": ("qanat_tunnel_streams_rejected_total", "Streams that the other end has refused."),
    "connected": ("qanat_tunnel_carriers_connected_total", "Carriers that ever came up."),
    "reconnects": ("qanat_tunnel_reconnects_total", "Times that a tunnel came up again."),
}
_REASONS = {
    "refused_by": ("qanat_tunnel_refusals_total", "Streams refused by this gateway, by reason."),
    "rejected_by": ("qanat_tunnel_rejections_total", "Streams that were refused, by reason."),
    "reset_by": ("qanat_tunnel_resets_total", "Streams that have broken, by reason."),
}
_TIMES = {
    "opening": ("qanat_tunnel_opening_seconds", "Time from asking for a stream to its answer."),
    "handshakes": ("qanat_tunnel_handshake_seconds", "Time from a connection to a carrier."),
}
_CARRIER = {
    "streams": ("qanat_carrier_streams", "Streams of both sides that are open on a carrier."),
    "bytes_received": ("qanat_carrier_received_bytes_total", "Bytes of frames received."),
    "bytes_sent": ("qanat_carrier_sent_bytes_total", "Bytes of frames sent."),
    "frames_received": ("qanat_carrier_received_frames_total", "Frames received, without pings."),
    "frames_sent": ("qanat_carrier_sent_frames_total", "Frames sent."),
    "queued": ("qanat_carrier_queued_bytes", "Bytes that wait for the connection to take them."),
    "window_stalls": (
        "qanat_carrier_window_stalls_total",
        "How often a stream had bytes to send, and no credit left for them.",
    ),
    "throttled": (
        "qanat_carrier_throttled_total",
        "How often a stream was held back by a limit of bandwidth.",
    ),
    "throttled_now": (
        "qanat_carrier_throttled_streams",
        "Streams that a limit of bandwidth holds back now.",
    ),
    "datagrams_dropped": (
        "qanat_carrier_datagrams_dropped_total",
        "Datagrams that gave way to newer ones.",
    ),
}


def exposition(gateway: LiveGateway, accept: str) -> tuple[bytes, str]:
    """Write all metrics in the format that `accept`, the header, asks for; give its media type."""
    registry = CollectorRegistry()
    registry.register(_Reading(gateway))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


class _Reading(Collector):
    """All metrics at a moment."""

    def __init__(self, gateway: LiveGateway) -> None:
        self._gateway = gateway

    # typing.override is of Python 3.12.
    def collect(self) -> Iterator[Metric]:  # type: ignore[explicit-override]
        """Read them."""
        yield from self._whole()
        servers: dict[str, int] = self._read("servers")
        yield _metric(
            ("qanat_server_sessions", "Open sessions of a virtual server."),
            ("server",),
            (((name,), count) for name, count in servers.items()),
        )
        yield from self._peers()
        yield from self._rules()
        yield from self._tunnels()
        yield from self._limits()
        yield from self._handshakes()

    def _whole(self) -> Iterator[Metric]:
        view, status = self._gateway.status(), self._read("status")
        info = {"version": view.version, "node": view.node_name}
        yield InfoMetricFamily("qanat", "The gateway.", value=info)
        single = {
            ("qanat_uptime_seconds", "Time since the start."): view.uptime_s,
            ("qanat_revision", "Revision of the configuration that is live."): view.revision,
            ("qanat_sessions", "Open sessions."): status["sessions"],
            ("qanat_sessions_accepted_total", "Sessions accepted."): status["accepted"],
            ("qanat_sessions_failed_total", "Sessions that failed."): status["failed"],
            (
                "qanat_accept_pauses_total",
                "How often accepting paused for want of descriptors or connections.",
            ): status["paused"],
        }
        for names, value in single.items():
            yield _metric(names, (), [((), value)])
        yield _metric(
            ("qanat_worker_connections", "Connections of a worker, as worker_connections counts."),
            ("worker",),
            (((str(number),), count) for number, count in enumerate(status["connections"])),
        )

    def _peers(self) -> Iterator[Metric]:
        labels = ("upstream", "server", "address")
        peers = [
            ((upstream["name"], peer["server"], peer["address"]), peer)
            for upstream in self._read("upstreams")
            for peer in upstream["peers"]
        ]
        up = (((*names,), float(peer["state"] == "up")) for names, peer in peers)
        yield _metric(("qanat_peer_up", "Whether a peer takes sessions."), labels, up)
        yield from _fields(_PEER, labels, peers)

    def _rules(self) -> Iterator[Metric]:
        tables: dict[str, dict[str, int]] = self._read("rules")
        yield _metric(
            ("qanat_rule_decided_total", "Sessions that a rule has decided; without a name: none."),
            ("table", "rule"),
            (
                ((table, rule), count)
                for table, rules in tables.items()
                for rule, count in rules.items()
            ),
        )

    def _tunnels(self) -> Iterator[Metric]:
        tunnels = [((tunnel["name"],), tunnel) for tunnel in self._read("tunnels")]
        up = ((names, float(tunnel["state"] == "up")) for names, tunnel in tunnels)
        yield _metric(("qanat_tunnel_up", "Whether a tunnel is up."), ("tunnel",), up)
        yield from _fields(_TUNNEL, ("tunnel",), tunnels)
        for field, names in _REASONS.items():
            reasons = (
                ((*labels, reason), count)
                for labels, tunnel in tunnels
                for reason, count in tunnel[field].items()
            )
            yield _metric(names, ("tunnel", "reason"), reasons)
        for field, (name, meaning) in _TIMES.items():
            yield _histogram(
                name, meaning, ((*labels, tunnel[field]) for labels, tunnel in tunnels)
            )
        labels = ("tunnel", "carrier", "role")
        carriers = [
            ((*names, str(carrier["index"]), carrier["role"]), carrier)
            for names, tunnel in tunnels
            for carrier in tunnel["carriers"]
        ]
        yield from _fields(_CARRIER, labels, carriers)
        yield _metric(
            ("qanat_carrier_round_trip_seconds", "Time that the last ping of a carrier took."),
            labels,
            ((names, carrier["rtt_us"] / _MICROSECONDS) for names, carrier in carriers),
        )

    def _handshakes(self) -> Iterator[Metric]:
        counts: dict[str, int] = self._read("tunnel_handshakes")
        under_way = counts.pop("under_way")
        meaning = "Connections to where tunnels are brought up whose handshake is under way."
        yield _metric(("qanat_tunnel_handshakes_under_way", meaning), (), [((), under_way)])
        yield _metric(
            (
                "qanat_tunnel_handshakes_total",
                "Handshakes of others, by what came of them.",
            ),
            ("outcome",),
            (((outcome,), count) for outcome, count in counts.items()),
        )

    def _limits(self) -> Iterator[Metric]:
        limits = self._read("tunnel_limits")
        names = ("qanat_tunnel_window_bytes", "What the windows of all streams come to.")
        yield _metric(names, (), [((), limits["windows"])])
        for kind, label in (("services", "service"), ("peers", "peer")):
            quotas = [((quota["id"],), quota) for quota in limits[kind]]
            name = f"qanat_tunnel_{label}"
            fields = {
                "serving": (f"{name}_serving", "Streams that the other end has open here."),
                "limited": (f"{name}_limited_total", "Streams refused because of max_streams."),
            }
            yield from _fields(fields, (label,), quotas)

    def _read(self, what: str) -> Any:  # noqa: ANN401 - as many shapes as snapshots
        return msgspec.msgpack.decode(self._gateway.engine.snapshot(what))


def _fields(
    fields: dict[str, tuple[str, str]],
    labels: tuple[str, ...],
    found: Sequence[tuple[tuple[str, ...], dict[str, Any]]],
) -> Iterator[Metric]:
    for field, names in fields.items():
        yield _metric(names, labels, ((values, item[field]) for values, item in found))


def _histogram(name: str, meaning: str, tunnels: Iterable[tuple[str, Any]]) -> Metric:
    """Make a histogram of the times of each tunnel."""
    metric = HistogramMetricFamily(name, meaning, labels=("tunnel",))
    for tunnel, times in tunnels:
        buckets = [(str(bound / _MICROSECONDS), count) for bound, count in times["buckets"]]
        buckets.append(("+Inf", times["count"]))
        metric.add_metric((tunnel,), buckets, times["sum_us"] / _MICROSECONDS)
    return metric


def _metric(names: tuple[str, str], labels: tuple[str, ...], rows: Rows) -> Metric:
    """Make a metric of its name and meaning; one whose name ends in `_total` is a counter."""
    name, meaning = names
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    metric = kind(name, meaning, labels=labels)
    for values, value in rows:
        metric.add_metric(values, value)
    return metric
