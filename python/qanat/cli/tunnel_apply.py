"""`qanat tunnel apply`: peers, tunnels, services and bindings of a file, in one change."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qanat.cli.client import ControlError
from qanat.cli.output import Json, failed, print_json

if TYPE_CHECKING:
    from qanat.cli.client import Client


def apply_command(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="JSON, as `/v1/apply` takes it; `-` is standard input."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Make peers, tunnels, services and bindings as a file says: all of it, or nothing.

    What the file does not name stays, null removes, and what is as it should be is not touched: the
    same file can be applied again and again.

    Examples:

    - `qanat tunnel apply services.json`

    - `echo '{"services": {"local": {"web": null}}}' | qanat tunnel apply -`
    """
    client: Client = context.obj
    try:
        answer = client.ask("POST", "/v1/apply", _read(file))
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json(answer)
        return
    for path in answer["put"]:
        typer.echo(f"put {path}")
    for path in answer["removed"]:
        typer.echo(f"removed {path}")
    if not answer["changed"]:
        typer.echo("everything is so already")


def _read(file: str) -> str:
    try:
        if file == "-":
            return sys.stdin.read()
        return Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ControlError(f'cannot read "{file}": {reason}') from error
