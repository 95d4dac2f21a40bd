"""`qanat ctl rules`: see, try and change the rules of a running gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import msgspec
import typer

from qanat.cli.client import Client, ControlError
from qanat.cli.output import Json, failed, print_json, print_table, table_of
from qanat.compiler.compilation import Refused
from qanat.compiler.rules_block import spec_of_words

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="See, try and change rules: tables that choose where a session goes.\n\n"
    "A rule is written as in a `rules` block of the configuration: conditions, all of which must "
    "hold, then what happens.\n\n"
    "Examples:\n\n"
    "- `qanat ctl rules ls`\n\n"
    "- `qanat ctl rules put edge ssh starts_with=SSH- pass=127.0.0.1:22`\n\n"
    "- `qanat ctl rules match edge source=10.0.0.7 sni=shop.example`\n\n"
    "- `qanat ctl rules rm edge ssh`",
)

_CONDITIONS = ("source", "port", "sni", "alpn", "starts_with")

TableName = Annotated[str, typer.Argument(metavar="TABLE", help="Name of the table.")]
RuleName = Annotated[str, typer.Argument(metavar="RULE", help="Name of the rule.")]


@app.command("ls")
def ls_command(
    context: typer.Context,
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help="One table only.")] = None,
    as_json: Json = False,
) -> None:
    """List rules in the order in which they are asked, with the sessions that each decided."""
    client: Client = context.obj
    try:
        answer = client.ask("GET", _path(table) if table else "/v1/rules")
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json(answer)
        return
    for shown in [answer] if table else answer["tables"]:
        _print_rules(shown)


@app.command("put")
def put_command(
    context: typer.Context,
    table: TableName,
    rule: RuleName,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORD...",
            help="source= port= sni= alpn= starts_with= tls= priority=, then pass= or reject.",
        ),
    ],
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="For people.")] = "",
    as_json: Json = False,
) -> None:
    """Add a rule to a table, or replace it; it decides new sessions when the command returns.

    Examples:

    - `qanat ctl rules put edge office source=10.0.0.0/8,192.0.2.0/24 pass=web`

    - `qanat ctl rules put edge queue alpn=mqtt priority=10 pass=queue`

    - `qanat ctl rules put edge rest tls=off reject=421 --note "TLS only"`
    """
    client: Client = context.obj
    try:
        spec = msgspec.structs.replace(spec_of_words(words), note=note)
        answer = client.ask("PUT", _path(table, rule), msgspec.json.encode(spec).decode())
    except (ControlError, Refused) as error:
        raise failed(error) from error
    if as_json:
        print_json(answer)
        return
    done = "put" if answer["changed"] else "is so already:"
    typer.echo(f"{done} {rule} of {table}, revision {answer['revision']}")


@app.command("rm")
def rm_command(
    context: typer.Context, table: TableName, rule: RuleName, as_json: Json = False
) -> None:
    """Remove a rule that was added live; sessions that it decided go on."""
    client: Client = context.obj
    try:
        answer = client.ask("DELETE", _path(table, rule))
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json(answer)
        return
    typer.echo(f"removed {rule} of {table}, revision {answer['revision']}")


@app.command("match")
def match_command(
    context: typer.Context,
    table: TableName,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORD...", help="source=ADDRESS, then port= sni= alpn= tls= first_bytes=."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Ask which rule would decide a session, and why not those before it.

    Examples:

    - `qanat ctl rules match edge source=10.0.0.7 port=443 sni=shop.example alpn=h2`

    - `qanat ctl rules match edge source=unix: first_bytes=SSH-2.0`
    """
    client: Client = context.obj
    try:
        answer = client.ask("POST", f"{_path(table)}:match", json.dumps(_session(words)))
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json(answer)
        return
    rule = answer["rule"] or "default"
    waits = " (after waiting for its first bytes)" if answer["waits"] else ""
    typer.echo(f"{rule}: {_action(answer['action'])}{waits}")
    for passed in answer["passed_over"]:
        typer.echo(f"  not {passed['rule']}: {passed['denied_by']}")


def _session(words: list[str]) -> dict[str, object]:
    """Read the words that describe a session. Raise `ControlError`."""
    session: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        match name:
            case "source" | "sni" | "first_bytes" if equals:
                session[name] = value
            case "alpn" if equals:
                session[name] = value.split(",")
            case "port" if value.isdecimal():
                session[name] = int(value)
            case "tls" if value in {"on", "off"}:
                session[name] = value == "on"
            case _:
                known = "source= port= sni= alpn= tls=on|off first_bytes="
                raise ControlError(f'invalid word "{word}", there are {known}')
    return session


def _print_rules(table: Mapping[str, Any]) -> None:
    rows = table_of("priority", "rule", "conditions", "action", "decided", "from")
    for rule in table["rules"]:
        origin = "API" if rule["dynamic"] else rule["origin"]
        conditions = _conditions(rule)
        rows.add_row(
            str(rule["priority"]),
            rule["name"],
            conditions,
            _action(rule),
            str(rule["decided"]),
            origin,
        )
    rows.add_row("", "default", "-", _action(table["default"]), str(table["unmatched"]), "")
    rows.caption = f"rules {table['name']}"
    print_table(rows)


def _conditions(rule: Mapping[str, Any]) -> str:
    words = [
        f"{name}={_quoted(','.join(str(value) for value in rule[name]))}"
        for name in _CONDITIONS
        if rule[name]
    ]
    if rule["tls"] is not None:
        words.append(f"tls={'on' if rule['tls'] else 'off'}")
    return " ".join(words) or "-"


def _quoted(text: str) -> str:
    """Write a value as a rule of the configuration would: with quotes if there are blanks."""
    return f'"{text}"' if " " in text else text


def _action(item: Mapping[str, Any]) -> str:
    target = item.get("pass")
    return f"pass={target}" if target is not None else f"reject={item['reject']}"


def _path(*names: str) -> str:
    return "/".join(("/v1/rules", *(quote(name, safe="") for name in names)))
