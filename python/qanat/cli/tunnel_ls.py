"""`qanat tunnel ls`: tunnels, services and bindings with their states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from qanat.cli.client import Client, ControlError
from qanat.cli.output import Json, failed, print_json, print_table, table_of
from qanat.cli.tunnel_hints import next_step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PARTS = ("tunnels", "services", "bindings")


def ls_command(context: typer.Context, as_json: Json = False) -> None:
    """List tunnels and services, with their states and what is missing.

    A service works when both ends have it, each bound to the same tunnel, and the tunnel is `up`.
    Where nothing is there yet, it says what comes next.

    Examples:

    - `qanat tunnel ls`

    - `qanat tunnel ls --json | jq .tunnels`
    """
    client: Client = context.obj
    try:
        answers = {part: client.ask("GET", f"/v1/{part}") for part in _PARTS}
        hint = next_step(answers["tunnels"], answers["services"], client.ask("GET", "/v1/peers"))
    except ControlError as error:
        raise failed(error) from error
    if as_json:
        print_json(answers)
        return
    if answers["tunnels"]["tunnels"]:
        _print_tunnels(answers["tunnels"]["tunnels"])
    if any(part["local"] or part["remote"] for part in (answers["services"], answers["bindings"])):
        _print_services(answers["services"], answers["bindings"])
    if hint is not None:
        typer.echo(hint)
    for skipped in answers["tunnels"]["skipped"]:
        line = f"not in use: {skipped['kind']} {skipped['name']}: {skipped['message']}"
        typer.secho(line, fg="yellow", err=True)


def _print_tunnels(tunnels: Iterable[Mapping[str, Any]]) -> None:
    table = table_of("tunnel", "state", "to", "node", "carriers", "streams", "round trip", "from")
    for tunnel in tunnels:
        carriers = tunnel["carriers"]
        error = f": {tunnel['error']}" if tunnel["error"] else ""
        rtt = min((carrier["rtt_us"] for carrier in carriers), default=None)
        table.add_row(
            tunnel["name"],
            f"{tunnel['state']}{error}",
            tunnel["dest"] or "dialled from there",
            ", ".join(sorted({carrier["node"] for carrier in carriers})) or "-",
            str(len(carriers)),
            str(sum(carrier["streams"] for carrier in carriers)),
            "-" if rtt is None else f"{rtt / 1000:.1f} ms",
            _origin(tunnel, accepted=tunnel["dest"] is None),
        )
    print_table(table)


def _print_services(services: Mapping[str, Any], bindings: Mapping[str, Any]) -> None:
    table = table_of("service", "kind", "protocol", "address", "key", "tunnels", "sessions", "from")
    for kind in ("local", "remote"):
        bound = bindings[kind]
        known = [service["name"] for service in services[kind]]
        for service in services[kind]:
            table.add_row(
                service["name"],
                kind,
                service["protocol"],
                service["addr"],
                "yes" if service["key"] else "-",
                _tunnels(bound, service["name"], kind) or "bound to none",
                str(service["sessions"]),
                _origin(service),
            )
        for missing in dict.fromkeys(
            one["service"] for one in bound if one["service"] not in known
        ):
            table.add_row(
                missing, kind, "-", "is missing", "-", _tunnels(bound, missing, kind), "-", ""
            )
    print_table(table)


def _tunnels(bindings: Iterable[Mapping[str, Any]], service: str, kind: str) -> str:
    """Name the tunnels of a service, with what is missing."""
    return ", ".join(_tunnel(one, kind) for one in bindings if one["service"] == service)


def _tunnel(binding: Mapping[str, Any], kind: str) -> str:
    name, state = str(binding["tunnel"]), binding["state"]
    if state not in {"up", "no_service"}:
        return f"{name} ({state})"
    if state == "up" and binding["offered"] is False:
        if kind == "local":
            return f"{name} (the other end does not offer {binding['service']})"
        return f"{name} (not offered)"
    return name


def _origin(item: Mapping[str, Any], *, accepted: bool = False) -> str:
    if item["dynamic"]:
        return "API"
    return "" if accepted else "file"
