"""Two gateways that can have tunnels to each other, ruled over Menet's paths."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from tests.harness.gateway import Gateway

if TYPE_CHECKING:
    from pathlib import Path

MAIN = "error_log logs/error.log info;\npid logs/qanat.pid;\nevents { }\n"
CONFIG = """
node_name @node;
tunnels {
    listen 127.0.0.1:@tunnels;
    secret @secret;
    @more
}
"""


@dataclass
class Node:
    """A gateway, and a client of its control API."""

    gateway: Gateway
    client: httpx.Client

    @property
    def tunnel_port(self) -> int:
        """Where it lets tunnels be brought up."""
        return self.gateway.ports["tunnels"]

    def post(self, path: str, **body: object) -> httpx.Response:
        return self.client.post(path, json=body)

    def delete(self, path: str, query: str = "", **body: object) -> httpx.Response:
        return self.client.request("DELETE", path + query, json=body)

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("/config").json()
        return found

    def state_of(self, tunnel: str) -> str | None:
        """Tell the state of a tunnel."""
        seen = self.config()["tunnels"].get(tunnel)
        return None if seen is None else str(seen["state"])


def start_node(folder: Path, name: str, secret: str, more: str = "") -> Node:
    """Start a gateway that can have tunnels."""
    folder.mkdir(parents=True, exist_ok=True)
    gateway = Gateway(folder)
    gateway.write(CONFIG, node=name, secret=secret, more=more)
    gateway.start_with_api()
    base = f"http://127.0.0.1:{gateway.ports['control_api']}"
    return Node(gateway, httpx.Client(base_url=base, timeout=20))


def stop_node(node: Node) -> None:
    """Stop a gateway; its log must hold no alarm."""
    node.client.close()
    node.gateway.close()


def new_secret() -> str:
    """Make a secret as `qanat tunnel genkey` does."""
    return secrets.token_hex(32)
