"""Directives that admit or refuse sessions."""

from __future__ import annotations

from qanat.config.tables.row import LEVELS, STREAM, STREAM_SERVER, Row, flag

NAME = "Access and limits"

ROWS = (
    Row(
        "allow",
        LEVELS,
        (1, 1),
        "Admit an address, a network, `unix:` or `all`; the first rule that matches decides.",
        repeats=True,
    ),
    Row(
        "deny",
        LEVELS,
        (1, 1),
        "Refuse an address, a network, `unix:` or `all` with status 403.",
        repeats=True,
    ),
    Row(
        "limit_conn_zone",
        STREAM,
        (2, 2),
        "Counters of sessions by a key.",
        repeats=True,
        planned=True,
    ),
    Row(
        "limit_conn", STREAM_SERVER, (2, 2), "Most sessions of one key.", repeats=True, planned=True
    ),
    Row(
        "limit_conn_log_level",
        STREAM_SERVER,
        (1, 1),
        "Level of its messages.",
        "error",
        planned=True,
    ),
    flag("limit_conn_dry_run", STREAM_SERVER, "Count without refusing.", planned=True),
)
