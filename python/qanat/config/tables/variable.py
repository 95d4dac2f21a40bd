"""Directives that make variables."""

from __future__ import annotations

from qanat.config.tables.row import MANY, SERVER, STREAM, UNCHECKED, Row

NAME = "Variables"

ROWS = (
    Row(
        "map",
        STREAM,
        (2, 2),
        "A variable found by text: exact, `hostnames`, `~regex`, `default`, `volatile`, `include`.",
        block=UNCHECKED,
        repeats=True,
    ),
    Row("map_hash_max_size", STREAM, (1, 1), "Accepted for compatibility, without effect.", "2048"),
    Row(
        "map_hash_bucket_size", STREAM, (1, 1), "Accepted for compatibility, without effect.", "64"
    ),
    Row("set", SERVER, (2, 2), "Set a variable when a session begins.", repeats=True),
    *(
        Row(name, STREAM, args, meaning, block=UNCHECKED, repeats=True, planned=True)
        for name, args, meaning in (
            ("num_map", (2, 2), "A variable by ranges of numbers."),
            ("geo", (1, 2), "A variable by networks."),
            ("split_clients", (2, 2), "A variable by shares of clients."),
        )
    ),
    *(
        Row(name, STREAM, (1, 2), "A variable by a database of places.", planned=True)
        for name in ("geoip_country", "geoip_city", "geoip_org")
    ),
    Row(
        "keyval",
        STREAM,
        (3, 3),
        "A variable by a table that the API changes.",
        repeats=True,
        planned=True,
    ),
    Row("keyval_zone", STREAM, (1, MANY), "Such a table.", repeats=True, planned=True),
)
