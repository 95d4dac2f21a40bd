"""Loads what is otherwise loaded when it is first needed, for a process that gives up its rights.

The user that it becomes may be unable to read the installation: a checkout, or a Python, below
/root. Whatever a start, a reload or a request may need later must be in memory by then.
"""

from __future__ import annotations

from importlib import import_module

_LATE = (
    "qanat._native",
    "qanat.cli.serve",
    "qanat.cli.control_server",
    "qanat.api.resources",
    "qanat.compiler.pem",
    # The framework asks for it when it describes the API.
    "pydantic.v1",
    # Looking up any name of a host asks for it.
    "encodings.idna",
    "encodings.punycode",
)


def preload() -> None:
    """Import it all, and read the files of the page."""
    for name in _LATE:
        import_module(name)
    from qanat.api.page import assets  # noqa: PLC0415 - loaded only here

    assets()
