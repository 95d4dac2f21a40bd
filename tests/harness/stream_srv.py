"""NJet's resource over HTTP: requests as a client of NJet writes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

RESOURCE = "/api/v1/stream_srv"
SUCCESS = {"code": 0, "msg": "success."}


def send(api: httpx.Client, request: dict[str, Any]) -> httpx.Response:
    """Send a request with the method that goes with its type."""
    method = "POST" if request["type"] == "add" else "PUT"
    return api.request(method, RESOURCE, content=json.dumps(request))


def add(
    api: httpx.Client, address: object, name: str, body: str = "", option: str | None = None
) -> dict[str, Any]:
    """Add a virtual server; return the answer."""
    request = {"type": "add", "addr_port": str(address), "server_name": name, "server_body": body}
    if option is not None:
        request["listen_option"] = option
    answer: dict[str, Any] = send(api, request).json()
    return answer


def remove(api: httpx.Client, address: object, name: str) -> dict[str, Any]:
    """Remove a virtual server; return the answer."""
    request = {"type": "del", "addr_port": str(address), "server_name": name}
    answer: dict[str, Any] = send(api, request).json()
    return answer


def dynamic_servers(api: httpx.Client) -> list[dict[str, Any]]:
    """List the virtual servers that were added over the API."""
    servers = api.get("/v1/servers").json()["servers"]
    return [server for server in servers if server["dynamic"]]


def remove_all(api: httpx.Client) -> None:
    """Remove every virtual server of the API, each by its own listener and name."""
    for server in dynamic_servers(api):
        protocol, _, address = server["listeners"][0].partition(":")
        where = f"{address} udp" if protocol == "udp" else address
        assert remove(api, where, server["names"][0]) == SUCCESS
