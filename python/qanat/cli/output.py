"""How the commands that ask a running gateway print what it answers."""

# ruff: noqa: PLC0415 - programs that ask for JSON do not wait for tables

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

_UNFOLDED = 1000  # columns

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def plain(value: object) -> str:
    """Show a value of an answer as text."""
    return "\n".join(str(item) for item in value) if isinstance(value, list) else str(value)


def table_of(*columns: str) -> Table:
    """Begin a table."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, caption_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table."""
    from rich.console import Console

    # Who reads from a pipe looks for whole words: nothing is folded there.
    width = None if sys.stdout.isatty() else _UNFOLDED
    Console(markup=False, highlight=False, width=width).print(table)


def print_json(value: object) -> None:
    """Print an answer for programs."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def failed(error: Exception) -> typer.Exit:
    """Say why a command failed; return what ends it."""
    typer.secho(f"qanat: {error}", fg="red", err=True)
    return typer.Exit(1)
