"""The entry point: nginx's command line if it begins with a flag of nginx, else our commands."""

# ruff: noqa: PLC0415 - whoever starts the gateway in nginx's way does not wait for our commands

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process."""
    arguments = sys.argv[1:]
    if arguments and arguments[0].startswith("-") and not arguments[0].startswith("--"):
        from qanat.cli import nginx

        sys.exit(nginx.main(arguments))
    from qanat.cli.commands import app

    app(args=arguments, prog_name="qanat")
