"""The entry point: nginx's command line if it begins with a flag of nginx, else our commands."""

# ruff: noqa: PLC0415 - whoever starts the gateway in nginx's way does not wait for our commands

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line of this process."""
    open_standard_streams()
    arguments = sys.argv[1:]
    if arguments and arguments[0].startswith("-") and not arguments[0].startswith("--"):
        from qanat.cli import nginx

        sys.exit(nginx.main(arguments))
    from qanat.cli.commands import app

    app(args=arguments, prog_name="qanat")


def open_standard_streams() -> None:
    """Open those of standard input, output and error that whoever started this process closed.

    Else the first sockets and files opened here would take their numbers, and what is written for
    people would end up in them.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is given out first, which is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
