"""`qanat tunnel genkey` and `id`: the secret that gateways share, and the key that each has."""

# ruff: noqa: PLC0415 - the key is only loaded where it is shown

from __future__ import annotations

import os
import secrets
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from qanat.cli.client import Client, ControlError
from qanat.cli.output import Json, failed, print_json

_SECRET_BYTES = 32


def genkey_command(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="New file for it, mode 0600; without one, print it."),
    ] = None,
) -> None:
    """Make a secret of 256 bits for both ends of a tunnel.

    Copy the file to the other gateway, and name it in the configuration of both:
    `tunnels { secret file:tunnel.key; }`.

    Examples:

    - `qanat tunnel genkey tunnel.key`
    """
    text = secrets.token_hex(_SECRET_BYTES)
    if file is None:
        typer.echo(text)
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        message = f'"{file}" exists: a secret is not overwritten, remove it first'
        raise failed(ControlError(message)) from error
    except OSError as error:
        raise failed(ControlError(f'cannot write "{file}": {error.strerror}')) from error
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write(text + "\n")
    typer.echo(f"wrote {file}: the same file belongs at the other end, and nowhere else")


def id_command(
    context: typer.Context,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="DIR",
            help="Read it in this state directory, of a gateway that need not run; it is made if "
            "it is not there.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the public key of this gateway: others name it in `peer`.

    Examples:

    - `qanat tunnel id`

    - `qanat tunnel id --state state-a`
    """
    client: Client = context.obj
    try:
        if state is None:
            answer = client.ask("GET", "/v1/peers")
            name, key = answer["node"], answer["key"]
        else:
            name, key = "", _key_in(state)
        if key is None:
            raise ControlError('this gateway has no key: its configuration has no "tunnels" block')
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json({"node": name, "key": key})
        return
    typer.echo(key)


def _key_in(state: Path) -> str:
    """Read the public key in a state directory. Raise `ControlError`."""
    from qanat.control.tunnel_identity import identity_of, read_key

    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        return identity_of(read_key(state)).public
    except (OSError, ValueError) as error:
        raise ControlError(f'cannot use the key in "{state}": {error}') from error
