"""Two gateways that can have tunnels to each other, ruled over Menet's paths."""

from __future__ import annotations

import re
import secrets
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from tests.harness.gateway import Gateway
from tests.harness.waiting import until

from qanat.control.tunnel_identity import identity_of, read_key

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
@rest
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


def start_node(
    folder: Path, name: str, secret: str, more: str = "", rest: str = "", main: str = MAIN
) -> Node:
    """Start a gateway that can have tunnels; `main` comes before the block, `rest` follows it."""
    folder.mkdir(parents=True, exist_ok=True)
    gateway = Gateway(folder)
    configure(gateway, name, secret, more, rest, main)
    gateway.start_with_api()
    return Node(gateway, _client(gateway))


def start_again(node: Node) -> None:
    """Start a gateway that has ended."""
    node.client.close()
    node.gateway.start_with_api()
    node.client = _client(node.gateway)


def configure(
    gateway: Gateway, name: str, secret: str, more: str = "", rest: str = "", main: str = MAIN
) -> None:
    """Write the configuration; the texts may name ports as `@name`."""
    text = CONFIG.replace("@more", more).replace("@rest", rest)
    gateway.write(text, main, node=name, secret=secret)


def _client(gateway: Gateway) -> httpx.Client:
    base = f"http://127.0.0.1:{gateway.ports['control_api']}"
    return httpx.Client(base_url=base, timeout=20)


def reload(node: Node) -> str:
    """Reload and wait for the end of it; return the last line about it."""

    def outcomes() -> list[str]:
        pattern = r"^.*(?:: reconfigured|\[emerg\]).*$"
        return re.findall(pattern, node.gateway.error_log(), re.MULTILINE)

    seen = len(outcomes())
    node.gateway.signal(signal.SIGHUP)
    until(lambda: len(outcomes()) > seen, "the reload")
    return outcomes()[-1]


def stop_node(node: Node) -> None:
    """Stop a gateway; its log must hold no alarm."""
    node.client.close()
    node.gateway.close()


def key_of(folder: Path) -> str:
    """Make the key of a node that is not there yet; return its public half."""
    state = folder / "state"
    state.mkdir(parents=True)
    return identity_of(read_key(state)).public


def new_secret() -> str:
    """Make a secret as `qanat tunnel genkey` does."""
    return secrets.token_hex(32)
