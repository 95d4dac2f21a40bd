"""Directives of handlers in Python."""

from __future__ import annotations

from qanat.config.tables.row import LEVELS, SERVER, STREAM, STREAM_SERVER, UPSTREAM, Row

NAME = "Handlers"

BLOCK_SUFFIX = "_by_python_block"
"""What the names of directives end in whose block holds Python."""

_WHERE = "`MODULE:FUNCTION`, or a block of Python in the form `{}_by_python_block {{ … }}`."


def _rows(phase: str, contexts: tuple[str, ...], meaning: str, *, repeats: bool) -> tuple[Row, ...]:
    name = f"{phase}_by_python"
    return (
        Row(name, contexts, (1, 1), f"{meaning}: {_WHERE.format(phase)}", repeats=repeats),
        Row(
            f"{name}_block",
            contexts,
            (1, 1),
            f"As `{name}`, with the code of the handler in braces.",
            repeats=repeats,
        ),
    )


ROWS = (
    Row(
        "python_path",
        STREAM,
        (1, 1),
        "Directory to import handlers from; relative to that of the main file.",
        repeats=True,
    ),
    Row(
        "python_timeout",
        LEVELS,
        (1, 1),
        "A handler's own time for one call; waiting for the client's bytes is not counted.",
        "5s",
    ),
    Row(
        "python_startup_timeout",
        STREAM,
        (1, 1),
        "Time for each function of `on_startup`.",
        "60s",
    ),
    Row(
        "python_shutdown_timeout",
        STREAM,
        (1, 1),
        "Time for all functions of `on_shutdown`, and for background tasks to end after them.",
        "10s",
    ),
    Row(
        "python_background_limit",
        STREAM,
        (1, 1),
        "How many background tasks may be pending.",
        "1024",
    ),
    *_rows("init", STREAM, "Run once whenever handlers are loaded", repeats=True),
    *_rows("access", LEVELS, "Decide who is admitted", repeats=True),
    *_rows(
        "ssl_client_hello",
        STREAM_SERVER,
        "Look at what a TLS client offers, before anything is agreed on",
        repeats=True,
    ),
    *_rows(
        "ssl_certificate", STREAM_SERVER, "Choose the certificate for a TLS client", repeats=True
    ),
    *_rows("preread", LEVELS, "Look at or take the client's first bytes", repeats=True),
    *_rows("balance", UPSTREAM, "Choose a peer", repeats=False),
    *_rows("content", SERVER, "Answer the client", repeats=False),
    *_rows(
        "proxy_ssl_verify",
        STREAM_SERVER,
        "Judge the certificates of a peer that was reached over TLS",
        repeats=True,
    ),
    *_rows("log", LEVELS, "See how a session ended", repeats=True),
)
