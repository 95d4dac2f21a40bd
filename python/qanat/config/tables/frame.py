"""Directives of `frame`: what the first bytes of a client are to make."""

from __future__ import annotations

from qanat.config.tables.row import MANY, STREAM_SERVER, Row

NAME = "Frames"

FRAME = ("frame",)

ROWS = (
    Row(
        "frame",
        STREAM_SERVER,
        (0, 0),
        "Look at the first frame of a client before anything else is decided; "
        "`$frame_NAME` shows its parts.",
        block="frame",
    ),
    Row(
        "header",
        FRAME,
        (1, MANY),
        "Fixed header: a format as of Python's `struct`, then a name for each value; "
        "`_` skips one.",
    ),
    Row(
        "length",
        FRAME,
        (1, 2),
        "What counts the bytes that follow: a field of the header, or `varint`; `adjust=N` is "
        "added to it.",
    ),
    Row("delimiter", FRAME, (1, 1), r"What ends a frame, as `\r\n` or `\x00`."),
    Row("body", FRAME, (1, 1), "What follows the header: `json`, `msgpack` or `raw`.", "raw"),
    Row("max", FRAME, (1, 1), "Largest frame, header included.", "preread_buffer_size"),
    Row("timeout", FRAME, (1, 1), "Time for a client to send it.", "preread_timeout"),
)
