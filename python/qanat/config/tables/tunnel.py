"""Directives of `tunnels`: links to other gateways, and the services behind them."""

from __future__ import annotations

from qanat.config.tables.row import MAIN, MANY, Row

NAME = "Tunnels"

TUNNELS = ("tunnels",)

ROWS = (
    Row(
        "tunnels",
        MAIN,
        (0, 0),
        "Links to other gateways, and the services that are reached through them.",
        block="tunnels",
    ),
    Row(
        "listen",
        TUNNELS,
        (1, 1),
        "Address at which other gateways bring up tunnels.",
        repeats=True,
    ),
    Row(
        "secret",
        TUNNELS,
        (1, 1),
        "Secret that both ends of a tunnel know: `file:PATH`, `env:NAME`, or 64 hexadecimal "
        "digits, as `qanat tunnel genkey` makes them. Further ones are believed, too, but nothing "
        "is dialled with them: so one takes the place of another without a break.",
        repeats=True,
    ),
    Row(
        "peer",
        TUNNELS,
        (2, MANY),
        "A gateway that is known by its key, `ed25519:HEX`; `tunnels=NAME,NAME*` limits the "
        "tunnels that it may bring up here, `consume=NAME,NAME*` the remote services that it may "
        "open, `offer=NAME,NAME*` its services that clients are sent to; `off` is none. Of all of "
        "its tunnels together, `send_rate=SIZE` and `receive_rate=SIZE` limit the bytes a second, "
        "`max_streams=NUMBER` the streams that it may have open here.",
        repeats=True,
    ),
    Row(
        "tunnel",
        TUNNELS,
        (2, MANY),
        "A tunnel that this gateway dials: its name and `HOST:PORT`; `peer=NAME` says who must "
        "answer, `send_rate=SIZE` and `receive_rate=SIZE` limit its bytes a second.",
        repeats=True,
    ),
    Row(
        "service",
        TUNNELS,
        (3, MANY),
        "A service: its name, `local` and the address where its clients connect, or `remote` and "
        "its target; `udp` for datagrams instead of `tcp`, and `key=TEXT`, have to be the same at "
        "both ends. A local one takes "
        "`pending_timeout=TIME` and `when_down=hold`, `refuse` or `close`, a remote one "
        "`connect_timeout=TIME`, `proxy_protocol=v1` or `v2`, and `max_streams=NUMBER`. Bytes a "
        "second are limited by `upload_rate=SIZE` (what clients send) and `download_rate=SIZE` for "
        "all of its streams here together, by `stream_upload_rate` and `stream_download_rate` for "
        "each.",
        repeats=True,
    ),
    Row(
        "bind",
        TUNNELS,
        (3, 3),
        "Binds a service to a tunnel: the names of the tunnel and of the service, `local` or "
        "`remote`.",
        repeats=True,
    ),
    Row("heartbeat", TUNNELS, (1, 1), "Silence after which a carrier is probed.", "10s"),
    Row("carriers", TUNNELS, (1, 1), "Connections of each tunnel that this gateway dials.", "2"),
    Row(
        "handshake_timeout",
        TUNNELS,
        (1, 1),
        "Time for a carrier to connect and to prove who it is.",
        "5s",
    ),
    Row(
        "max_streams",
        TUNNELS,
        (1, 1),
        "Streams that the other end of a tunnel may have open here.",
        "16384",
    ),
    Row(
        "buffer_limit",
        TUNNELS,
        (1, 1),
        "Memory that the windows of all streams of tunnels may come to; above that they do not "
        "grow, and a new stream has 64k.",
        "256m",
    ),
)
