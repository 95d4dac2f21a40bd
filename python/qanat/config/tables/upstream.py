"""Directives of `upstream`: peers and how one is chosen."""

from __future__ import annotations

from qanat.config.tables.row import MANY, SERVER, STREAM, STREAM_SERVER, UPSTREAM, Row, flag

NAME = "Upstreams"

_SYNC = "Sharing of state between gateways."

ROWS = (
    Row("upstream", STREAM, (1, 1), "A named group of peers.", block="upstream", repeats=True),
    Row(
        "server",
        UPSTREAM,
        (1, MANY),
        "Peers at an address: `HOST:PORT` or `unix:PATH`, then `weight= max_conns= max_fails= "
        "fail_timeout= backup down`.",
        repeats=True,
    ),
    Row(
        "zone",
        UPSTREAM,
        (1, 2),
        "Accepted for compatibility: workers always share the state of peers.",
    ),
    Row(
        "hash",
        UPSTREAM,
        (1, 2),
        "Choose by the hash of a text; `consistent` moves few clients on a change.",
    ),
    Row("least_conn", UPSTREAM, (0, 0), "Choose the peer with the fewest sessions for its weight."),
    Row("random", UPSTREAM, (0, 2), "Choose at random; `two` takes the better one of two."),
    Row("least_time", UPSTREAM, (1, 2), "Choose the quickest peer.", planned=True),
    Row("state", UPSTREAM, (1, 1), "File that keeps peers changed at run time.", planned=True),
    Row("zone_sync", SERVER, (0, 0), _SYNC, planned=True),
    Row("zone_sync_server", SERVER, (1, 2), _SYNC, repeats=True, planned=True),
    Row("zone_sync_buffers", STREAM_SERVER, (2, 2), _SYNC, planned=True),
    flag("zone_sync_ssl", STREAM_SERVER, _SYNC, planned=True),
    *(
        Row(f"zone_sync_{name}", STREAM_SERVER, (1, MANY), _SYNC, planned=True)
        for name in (
            *(
                "recv_buffer_size",
                "interval",
                "timeout",
                "connect_timeout",
                "connect_retry_interval",
            ),
            *(
                "ssl_certificate",
                "ssl_certificate_key",
                "ssl_ciphers",
                "ssl_conf_command",
                "ssl_crl",
            ),
            *("ssl_name", "ssl_password_file", "ssl_protocols", "ssl_server_name"),
            *("ssl_trusted_certificate", "ssl_verify", "ssl_verify_depth"),
        )
    ),
)
