"""The commands of `qanat` that are not nginx's. What a command does is in a module of its own."""

# ruff: noqa: PLC0415 - a command loads only what it needs

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import qanat
from qanat.cli import ctl, tunnel
from qanat.config.paths import Paths

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    epilog="nginx's own flags work too, without a command: `qanat -p DIR/ -c conf/nginx.conf -t`. "
    "`qanat -h` lists them.",
)
app.add_typer(ctl.app, name="ctl")
app.add_typer(tunnel.app, name="tunnel")

Prefix = Annotated[
    Path | None,
    typer.Option(
        "--prefix",
        "-p",
        metavar="DIR",
        help="Directory that logs, pid file and state start from. Default: that of the file, or "
        "its parent if it is named conf.",
        show_default=False,
    ),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"qanat {qanat.__version__}")
        raise typer.Exit


@app.callback()
def qanat_command(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Print the version and end."
        ),
    ] = False,
) -> None:
    """A programmable layer-4 gateway: nginx `stream {}` configuration, changed live over HTTP."""


@app.command("run")
def run_command(
    conf: Annotated[
        Path, typer.Option("--conf", "-c", metavar="FILE", help="Main configuration file.")
    ],
    prefix: Prefix = None,
    control: Annotated[
        list[str] | None,
        typer.Option(
            "--control",
            metavar="ADDRESS",
            help="Serve the control API there too: IP:PORT or unix:PATH, with the options of the "
            "`control` directive. May be repeated.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, metavar="N", help="Threads, instead of worker_processes."),
    ] = None,
) -> None:
    """Run the gateway in the foreground.

    HUP reloads the file, QUIT ends when the sessions have, TERM and INT end at once, USR1 opens the
    logs anew.

    Examples:

    - `qanat run -c nginx.conf`

    - `qanat run -c nginx.conf --control 127.0.0.1:8081`

    - `qanat run -c nginx.conf --control "0.0.0.0:8081 token_file=/etc/qanat/token"`
    """
    from qanat.cli.configuration import Source
    from qanat.cli.messages import Messages
    from qanat.cli.run import RunOptions, run

    directives = "".join(f"control {address};" for address in control or ())
    source = Source(place(conf, prefix), directives, error_log="stderr", workers=workers)
    options = RunOptions(source, Messages("qanat"), foreground=True)
    raise typer.Exit(run(options))


@app.command("check")
def check_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Main configuration file.")],
    prefix: Prefix = None,
) -> None:
    """Check a configuration: print ok, or every problem with its file and line.

    Examples:

    - `qanat check /etc/nginx/nginx.conf`

    - `qanat check -p /usr/local/njet conf/njet.conf`
    """
    from qanat.cli.check import run_check

    raise typer.Exit(run_check(place(file, prefix)))


@app.command("demo")
def demo_command() -> None:
    """Show it all on this machine: start, change live, see the answers, stop."""
    from qanat.cli.demo import run_demo

    raise typer.Exit(run_demo())


def place(conf: Path, prefix: Path | None) -> Paths:
    """Place the main file: below the prefix as nginx has it, or else where it is named."""
    if prefix is None or conf.is_absolute() or (prefix / conf).is_file():
        return Paths.of(conf, prefix)
    return Paths.of(conf.absolute(), prefix)
