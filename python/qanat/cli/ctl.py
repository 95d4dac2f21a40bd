"""`qanat ctl`: see and change what a running gateway serves."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from qanat.cli.asked import Control, TokenFile, client_of
from qanat.cli.client import DEFAULT_ADDRESS, Client, ControlError
from qanat.cli.ctl_rules import app as rules_app
from qanat.cli.output import Json, failed, plain, print_json, print_table, table_of

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="See and change what a running gateway serves.\n\n"
    "Examples:\n\n"
    "- `qanat ctl list`\n\n"
    "- `qanat ctl add 0.0.0.0:23333 hello --body 'return \"hello\\n\";'`\n\n"
    "- `qanat ctl remove 0.0.0.0:23333 hello`\n\n"
    "- `qanat ctl reload-handlers`\n\n"
    "- `qanat ctl --control unix:/run/qanat.sock status --json`",
)

ListenAddress = Annotated[
    str,
    typer.Argument(
        metavar="ADDRESS", help='As in `listen`: 0.0.0.0:80, [::]:53, "1.2.3.4:53 udp".'
    ),
]
ServerName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the virtual server.")]


app.add_typer(rules_app, name="rules")


@app.callback()
def ctl_command(
    context: typer.Context, control: Control = DEFAULT_ADDRESS, token_file: TokenFile = None
) -> None:
    """Find the gateway; the help is that of the group."""
    context.obj = client_of(control, token_file)


@app.command("list")
def list_command(context: typer.Context, as_json: Json = False) -> None:
    """List the virtual servers."""
    client: Client = context.obj
    try:
        answer = client.servers()
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json(answer)
        return
    table = table_of("listener", "name", "content", "sessions", "from")
    for server in answer["servers"]:
        table.add_row(
            "\n".join(server["listeners"]),
            "\n".join(server["names"]) or "-",
            _content(server["content"]),
            str(server["sessions"]),
            "API" if server["dynamic"] else server["origin"],
        )
    table.caption = f"revision {answer['revision']}, {len(answer['servers'])} virtual servers"
    print_table(table)


@app.command("show")
def show_command(
    context: typer.Context,
    wanted: Annotated[str, typer.Argument(metavar="ID|NAME", help="Id, or a name, of the server.")],
    as_json: Json = False,
) -> None:
    """Show the virtual servers of an id or a name."""
    client: Client = context.obj
    try:
        servers = [
            server
            for server in client.servers()["servers"]
            if wanted == server["id"] or wanted.lower() in server["names"]
        ]
        if not servers:
            raise ControlError(f'no virtual server has the id or name "{wanted}"')
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json({"servers": servers})
        return
    for server in servers:
        table = table_of("field", "value")
        for field, value in server.items():
            text = _content(value) if field == "content" else plain(value)
            table.add_row(field, text)
        print_table(table)


@app.command("add")
def add_command(  # noqa: PLR0913, PLR0917 - one for each option
    context: typer.Context,
    address: ListenAddress,
    name: ServerName,
    body: Annotated[
        str | None, typer.Option("--body", metavar="TEXT", help="Directives of the server.")
    ] = None,
    body_file: Annotated[
        Path | None,
        typer.Option("--body-file", metavar="FILE", help="File with them; - for standard input."),
    ] = None,
    listen_option: Annotated[
        str,
        typer.Option("--listen-option", metavar="WORD", help="For a new address: ssl, mesh, …."),
    ] = "",
    as_json: Json = False,
) -> None:
    """Add a virtual server; it serves when the command returns.

    Examples:

    - `qanat ctl add 0.0.0.0:22222 server-17082 --body 'return "17082 ok";'`

    - `qanat ctl add "0.0.0.0:5353 udp" dns --body 'proxy_pass resolvers;'`

    - `qanat ctl add 0.0.0.0:8443 shop --listen-option ssl --body-file shop.conf`
    """
    client: Client = context.obj
    try:
        client.add(address, name, _body(body, body_file), listen_option)
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json({"added": {"address": address, "name": name}})
        return
    typer.echo(f"added {name} on {address}")


@app.command("remove")
def remove_command(
    context: typer.Context, address: ListenAddress, name: ServerName, as_json: Json = False
) -> None:
    """Remove a virtual server that was added live; its sessions go on."""
    client: Client = context.obj
    try:
        client.remove(address, name)
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json({"removed": {"address": address, "name": name}})
        return
    typer.echo(f"removed {name} from {address}")


@app.command("status")
def status_command(context: typer.Context, as_json: Json = False) -> None:
    """Show the gateway as a whole."""
    client: Client = context.obj
    try:
        answer = client.status()
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json(answer)
        return
    summary = table_of("field", "value")
    for field, value in answer.items():
        if not isinstance(value, list):
            summary.add_row(field.replace("_", " "), plain(value))
    print_table(summary)
    listeners = table_of("listener", "options", "default server", "from")
    for listener in answer["listeners"]:
        options = [word for word in ("tls", "mesh", "proxy_protocol") if listener[word]]
        origin = "API" if listener["dynamic"] else "file"
        default = listener["default_server"]
        listeners.add_row(listener["id"], " ".join(options) or "-", default, origin)
    print_table(listeners)
    for skipped in answer["skipped"]:
        line = f"not served: {skipped['name']} on {skipped['listener']}: {skipped['message']}"
        typer.secho(line, fg="yellow", err=True)
    for rule in answer["skipped_rules"]:
        line = f"not served: rule {rule['table']}/{rule['name']}: {rule['message']}"
        typer.secho(line, fg="yellow", err=True)


@app.command("handlers")
def handlers_command(context: typer.Context, as_json: Json = False) -> None:
    """List the handlers in Python, and the loads of their modules that sessions still have."""
    client: Client = context.obj
    try:
        answer = client.handlers()
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json(answer)
        return
    handlers = table_of("phase", "handler", "from", "open calls")
    for handler in answer["handlers"]:
        words = (handler["phase"], handler["name"], handler["origin"], handler["open_calls"])
        handlers.add_row(*map(str, words))
    print_table(handlers)
    loads = table_of("load", "used by", "open calls", "background tasks", "timers")
    for load in answer["generations"]:
        users = "new sessions" if load["is_current"] else "older sessions"
        counts = (load["open_calls"], load["background_tasks"], load["timers"])
        loads.add_row(str(load["number"]), users, *map(str, counts))
    print_table(loads)


@app.command("reload-handlers")
def reload_handlers_command(
    context: typer.Context,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=1,
            help="How long to wait for functions of on_startup.",
        ),
    ] = 120.0,
    as_json: Json = False,
) -> None:
    """Load the modules of handlers anew; new sessions have the new code when it returns.

    Open sessions keep the code that they began with. If a module cannot be loaded, or a function of
    its start fails, nothing changes, and the command says why. The configuration is not read again:
    SIGHUP (or `qanat -s reload`) does both.
    """
    client: Client = context.obj
    try:
        answer = client.reload_handlers(timeout)
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json(answer)
        return
    typer.echo(f"handlers reloaded: load {answer['generation']}, revision {answer['revision']}")


def _body(text: str | None, file: Path | None) -> str:
    if text is not None and file is not None:
        raise ControlError("--body and --body-file exclude each other")
    if file is None:
        return text or ""
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ControlError(f"the body cannot be read: {error}") from error


def _content(content: dict[str, str]) -> str:
    if content["type"] == "return":
        return f"return {json.dumps(content['value'], ensure_ascii=False)}"
    return f"{content['type']} {content.get('value', '')}".rstrip()
