"""Directives of access logs; `error_log` stands with the process."""

from __future__ import annotations

from qanat.config.tables.row import LEVELS, MANY, STREAM, STREAM_SERVER, Row

NAME = "Logs"

ROWS = (
    Row(
        "access_log",
        LEVELS,
        (1, MANY),
        "File, which may hold variables, and format of a line at a session's end; `if=` writes it "
        "only if a text is neither empty nor `0`; or `off`.",
        "off",
        repeats=True,
    ),
    Row(
        "log_format",
        STREAM,
        (2, MANY),
        "Name of a format, `escape=default`, `json` or `none`, and texts that are joined.",
        repeats=True,
    ),
    Row("open_log_file_cache", STREAM_SERVER, (1, 4), "Cache of open logs.", "off", planned=True),
)
