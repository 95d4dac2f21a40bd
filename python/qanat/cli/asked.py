"""Which gateway a command asks: the options that say so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qanat.cli.client import Address, Client, ControlError, read_token
from qanat.cli.output import failed

Control = Annotated[
    str,
    typer.Option(
        "--control",
        envvar="QANAT_CONTROL",
        metavar="URL|unix:PATH",
        help="Control address of the gateway.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="File with the bearer token; without it QANAT_TOKEN is used if set.",
    ),
]


def client_of(control: str, token_file: Path | None) -> Client:
    """Make the client of the gateway that the options name, or end the command."""
    try:
        return Client(Address.parse(control), read_token(token_file))
    except ControlError as error:
        raise failed(error) from error
