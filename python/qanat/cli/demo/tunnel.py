"""The demo's tunnel: two gateways, five calls, an answer; and one is killed in between."""

from __future__ import annotations

import json
import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING

from qanat.cli.demo import clients, stage

if TYPE_CHECKING:
    from pathlib import Path

    from qanat.cli.demo.run import Show

A, B = "127.0.0.2", "127.0.0.3"
API = 1234
VISITORS = 8080
KEY = "UHI@&s8sa*S"

Call = tuple[str, str, dict[str, object]]

CALLS: tuple[Call, ...] = (
    (A, "/tunnel", {"name": "tunnel1", "dest": [B, "4321"]}),
    (
        A,
        "/service",
        {"name": "service1", "key": KEY, "type": "local", "addr": [A, str(VISITORS)]},
    ),
    (
        B,
        "/service",
        {"name": "service1", "key": KEY, "type": "remote", "addr": ["127.0.0.1", "5555"]},
    ),
    (A, "/bind", {"tunnel": "tunnel1", "service": "service1", "type": "local"}),
    (B, "/bind", {"tunnel": "tunnel1", "service": "service1", "type": "remote"}),
)


def show_tunnel(show: Show, prefix: Path) -> None:
    """Make a service beside one gateway answer at a port of another."""
    (prefix / "conf/tunnel.key").write_text(secrets.token_hex(32), encoding="ascii")
    with ExitStack() as stack:
        show.title("A tunnel between two gateways that share a secret, made by five calls")
        _start(stack, prefix, "tunnel-a.conf", A)
        b = _start(stack, prefix, "tunnel-b.conf", B)
        for host, path, body in CALLS:
            text = json.dumps(body)
            show.note(f"curl -XPOST -d '{text}' http://{host}:{API}{path}")
            answer = clients.call("POST", path, body, (host, API))
            show.check(f"POST {path} at {host}", answer, '"ok":true')
        _visit(show)

        show.title("kill -9 of the gateway beside the service, and start it again")
        b.kill()
        _start(stack, prefix, "tunnel-b.conf", B)
        show.note("no call is made: what was answered is stored, and the tunnel dialled again")
        _visit(show)


def _start(stack: ExitStack, prefix: Path, configuration: str, host: str) -> stage.Gateway:
    gateway = stage.start(prefix, configuration, (host, API))
    stack.callback(gateway.stop)
    return gateway


def _visit(show: Show) -> None:
    answer = clients.ask_tcp(A, VISITORS)
    show.check(f"TCP {A}:{VISITORS}, through the tunnel", answer.text, "answer from 5555")
