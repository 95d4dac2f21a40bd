"""`qanat tunnel`: reach services through other gateways, and let them be reached."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

import typer

from qanat.cli import tunnel_apply, tunnel_keys, tunnel_ls
from qanat.cli import tunnel_limits as limits
from qanat.cli.asked import Control, TokenFile, client_of
from qanat.cli.client import DEFAULT_ADDRESS, ControlError
from qanat.cli.output import Json, failed, print_json

if TYPE_CHECKING:
    from qanat.cli.client import Client

_POLL_S = 0.1
_KINDS = {"local": "listens no longer for", "remote": "exposes no longer"}

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Reach services through other gateways, and let them be reached.\n\n"
    "Two gateways share a secret, or know each other's keys (`tunnels` in the configuration). One "
    "of them dials a tunnel: the one behind NAT. After that either one may expose services to the "
    "other, or listen for their clients. Nothing is restarted, and all is stored.\n\n"
    "A web server behind NAT, reached at port 8080 of a gateway that everybody reaches:\n\n"
    "- behind NAT: `qanat tunnel connect home gate.example:4321`\n\n"
    "- behind NAT: `qanat tunnel expose web 127.0.0.1:80 --tunnel home`\n\n"
    "- at the gate: `qanat tunnel listen web 0.0.0.0:8080 --tunnel home`\n\n"
    "- anywhere: `curl http://gate.example:8080/`\n\n"
    "`qanat tunnel ls` shows what there is, and what is missing. docs/tunnels.md explains it all.",
)

ServiceName = Annotated[
    str, typer.Argument(metavar="SERVICE", help="Name of the service, the same at both ends.")
]
TunnelNames = Annotated[
    list[str] | None,
    typer.Option(
        "--tunnel",
        "-t",
        metavar="NAME",
        help="Tunnel to bind it to; may be repeated. Default: the one tunnel that there is.",
        show_default=False,
    ),
]
Udp = Annotated[bool, typer.Option("--udp", help="The service is one of datagrams; at both ends.")]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        envvar="QANAT_SERVICE_KEY",
        metavar="TEXT",
        help="Credential of the service, the same at both ends. Other users of this machine can "
        "read it on the command line; the variable they cannot.",
        show_default=False,
    ),
]


@app.callback()
def tunnel_command(
    context: typer.Context, control: Control = DEFAULT_ADDRESS, token_file: TokenFile = None
) -> None:
    """Find the gateway; the help is that of the group."""
    context.obj = client_of(control, token_file)


app.command("genkey")(tunnel_keys.genkey_command)
app.command("id")(tunnel_keys.id_command)
app.command("ls")(tunnel_ls.ls_command)
app.command("apply")(tunnel_apply.apply_command)


@app.command("connect")
def connect_command(  # noqa: PLR0913, PLR0917 - one for each option
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the tunnel.")],
    dest: Annotated[
        str, typer.Argument(metavar="HOST:PORT", help="`listen` of `tunnels` at the other end.")
    ],
    peer: Annotated[
        str | None,
        typer.Option(
            "--peer", metavar="NAME", help="Who of `peer` must answer, instead of the secret."
        ),
    ] = None,
    wait: Annotated[
        float,
        typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait until it is up."),
    ] = 5.0,
    send_rate: limits.SendRate = "0",
    receive_rate: limits.ReceiveRate = "0",
    as_json: Json = False,
) -> None:
    """Dial a tunnel to another gateway, and keep it up.

    The gateway dials on for ever, also if the tunnel is not up when the command ends (status 1).

    Examples:

    - `qanat tunnel connect home gate.example:4321`

    - `qanat tunnel connect home gate.example:4321 --peer gate`
    """
    client: Client = context.obj
    path = _path("tunnels", name)
    rates = {"send_rate": send_rate, "receive_rate": receive_rate}
    body = {"dest": dest, "peer": peer, **rates}
    try:
        client.ask("PUT", path, json.dumps(body))
        tunnel = _awaited(client, path, wait)
    except ControlError as error:
        raise failed(error) from error
    is_up = tunnel["state"] == "up"
    if as_json:
        print_json(tunnel)
    elif is_up:
        others = {f"{carrier['node']} ({carrier['key']})" for carrier in tunnel["carriers"]}
        typer.echo(f"tunnel {name} is up, to {', '.join(sorted(others))}")
    else:
        reason = f": {tunnel['error']}" if tunnel["error"] else ""
        typer.secho(
            f"qanat: tunnel {name} is {tunnel['state']}{reason}; the gateway keeps trying",
            fg="yellow",
            err=True,
        )
    if not is_up:
        raise typer.Exit(1)


@app.command("expose")
def expose_command(  # noqa: PLR0913, PLR0917 - one for each option
    context: typer.Context,
    service: ServiceName,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="HOST:PORT, unix:PATH, or a port of 127.0.0.1: who answers."
        ),
    ],
    tunnels: TunnelNames = None,
    key: Key = "",
    udp: Udp = False,
    proxy_protocol: Annotated[
        str,
        typer.Option(
            "--proxy-protocol", metavar="v1|v2", help="Tell the target who the client is."
        ),
    ] = "off",
    upload_rate: limits.UploadRate = "0",
    download_rate: limits.DownloadRate = "0",
    stream_upload_rate: limits.StreamUploadRate = "0",
    stream_download_rate: limits.StreamDownloadRate = "0",
    max_streams: limits.MaxStreams = 0,
    as_json: Json = False,
) -> None:
    """Let the other end of a tunnel reach a service: its target is dialled from here.

    Examples:

    - `qanat tunnel expose web 80`

    - `qanat tunnel expose db unix:/run/db.sock --tunnel home --key "$DB_KEY"`
    """
    rates = {
        "upload_rate": upload_rate,
        "download_rate": download_rate,
        "stream_upload_rate": stream_upload_rate,
        "stream_download_rate": stream_download_rate,
    }
    body: dict[str, str | int] = {"addr": _address(target), "key": key, **rates}
    body |= {"proxy_protocol": proxy_protocol, "protocol": "udp" if udp else "tcp"}
    body["max_streams"] = max_streams
    answer = _serve(context.obj, "remote", service, body, tunnels)
    if as_json:
        print_json(answer)
        return
    typer.echo(f"exposes {service}, which is {answer['addr']}, to {_named(answer['tunnels'])}")


@app.command("listen")
def listen_command(  # noqa: PLR0913, PLR0917 - one for each option
    context: typer.Context,
    service: ServiceName,
    address: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            help="IP:PORT, or a port of 127.0.0.1: where clients connect. Port 0 is any free one.",
        ),
    ],
    tunnels: TunnelNames = None,
    key: Key = "",
    udp: Udp = False,
    upload_rate: limits.UploadRate = "0",
    download_rate: limits.DownloadRate = "0",
    stream_upload_rate: limits.StreamUploadRate = "0",
    stream_download_rate: limits.StreamDownloadRate = "0",
    as_json: Json = False,
) -> None:
    """Listen for clients of a service that the other end of a tunnel exposes.

    Examples:

    - `qanat tunnel listen web 0.0.0.0:8080`

    - `qanat tunnel listen db 5432 --tunnel home --key "$DB_KEY"`

    - `qanat tunnel listen dns 0.0.0.0:53 --udp`
    """
    protocol = "udp" if udp else "tcp"
    rates = {
        "upload_rate": upload_rate,
        "download_rate": download_rate,
        "stream_upload_rate": stream_upload_rate,
        "stream_download_rate": stream_download_rate,
    }
    body: dict[str, str | int] = {"addr": _address(address), "key": key, **rates}
    body["protocol"] = protocol
    answer = _serve(context.obj, "local", service, body, tunnels)
    if as_json:
        print_json(answer)
        return
    place = f"{answer['addr']}, through {_named(answer['tunnels'])}"
    typer.echo(f"listens for clients of {service} at {place}")


@app.command("rm")
def rm_command(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="tunnel|local|remote",
            help="A tunnel, or a service that was listened for or exposed.",
        ),
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    drain: Annotated[
        str,
        typer.Option("--drain", metavar="TIME", help="Time for the streams of a tunnel to end."),
    ] = "0",
    reset: Annotated[
        bool, typer.Option("--reset", help="Reset the streams of a service, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove a tunnel, or a service with its bindings.

    Examples:

    - `qanat tunnel rm tunnel home --drain 30s`

    - `qanat tunnel rm local web`

    - `qanat tunnel rm remote web --reset`
    """
    client: Client = context.obj
    try:
        if what == "tunnel":
            client.ask("DELETE", f"{_path('tunnels', name)}?drain={quote(drain, safe='')}")
            said = f"removed tunnel {name}"
        elif what in _KINDS:
            _remove_service(client, what, name, "reset" if reset else "keep")
            said = f"{_KINDS[what]} {name}"
        else:
            raise ControlError(f'"{what}" is none of: tunnel, local, remote')
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json({"removed": {"kind": what, "name": name}})
        return
    typer.echo(said)


def _serve(
    client: Client,
    kind: Literal["local", "remote"],
    service: str,
    body: dict[str, str | int],
    tunnels: list[str] | None,
) -> dict[str, Any]:
    """Put a service and bind it; tell what there is now."""
    try:
        names = tunnels or [_only_tunnel(client)]
        path = _path("services", kind, service)
        client.ask("PUT", path, json.dumps(body))
        for name in names:
            client.ask("PUT", _path("bindings", kind, name, service))
        return client.ask("GET", path)
    except ControlError as error:
        raise failed(error) from error


def _remove_service(client: Client, kind: str, name: str, streams: str) -> None:
    service = client.ask("GET", _path("services", kind, name))
    client.ask("DELETE", f"{_path('services', kind, name)}?streams={streams}")
    for tunnel in service["tunnels"]:
        client.ask("DELETE", f"{_path('bindings', kind, tunnel, name)}?streams={streams}")


def _only_tunnel(client: Client) -> str:
    names = [tunnel["name"] for tunnel in client.ask("GET", "/v1/tunnels")["tunnels"]]
    if len(names) == 1:
        return str(names[0])
    known = f"there are {', '.join(names)}" if names else "there is none yet"
    raise ControlError(f"which tunnel? {known}; name it with --tunnel")


def _awaited(client: Client, path: str, seconds: float) -> dict[str, Any]:
    """Wait until a tunnel is up, at most so long."""
    end = time.monotonic() + seconds
    while True:
        tunnel = client.ask("GET", path)
        if tunnel["state"] == "up" or time.monotonic() >= end:
            return tunnel
        time.sleep(_POLL_S)


def _address(text: str) -> str:
    """Complete a port alone: it is one of loopback."""
    return f"127.0.0.1:{text}" if text.isdecimal() else text


def _named(tunnels: list[str]) -> str:
    return f"tunnel{'s' if len(tunnels) > 1 else ''} {', '.join(tunnels)}"


def _path(*names: str) -> str:
    return "/".join(("/v1", *(quote(name, safe="") for name in names)))
