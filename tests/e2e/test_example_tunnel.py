"""`examples/tunnel` does what its README says: five calls, and the tunnel outlives `kill -9`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.harness import examples
from tests.harness.clients import connect, read_exactly
from tests.harness.gateway import Gateway, run
from tests.harness.servers import listen, serve, tagged_after_request
from tests.harness.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.examples import Example

A, B = "127.0.0.2", "127.0.0.3"
README = (examples.EXAMPLES / "tunnel/README.md").read_text()


@dataclass
class Both:
    """Both gateways of the example."""

    example: Example
    a: Gateway
    b: Gateway

    def calls(self) -> list[tuple[str, str]]:
        """Find the calls of the README: where they go, and their bodies."""
        lines = [line for line in README.splitlines() if line.startswith("curl -XPOST")]
        words = [shlex.split(self.example.rewrite(line)) for line in lines]
        return [(url, body) for _, _, _, body, url in words]

    def make_calls(self) -> list[httpx.Response]:
        return [httpx.post(url, content=body, timeout=PATIENCE) for url, body in self.calls()]

    def visit(self) -> bytes:
        """Ask as a visitor, at the address of gateway a."""
        with connect(self.example.port(8080), A) as client:
            client.sendall(b"hello")
            return read_exactly(client, len(b"service:hello"))

    def command(self, host: str, *words: str) -> str:
        """Run `qanat tunnel` for one of them."""
        control = f"{host}:{self.example.port(1234)}"
        done = run(["tunnel", "--control", control, *words])
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    """Run the example, with a secret made as the README says."""
    with serve(tagged_after_request("service"), listen(B)) as target:
        example = examples.prepare("tunnel", tmp_path, "a.conf", {f"{B}:8000": target})
        assert run(["tunnel", "genkey", str(tmp_path / "tunnel/tunnel.key")]).returncode == 0
        found = Both(
            example,
            example.gateway,
            Gateway(tmp_path, ports=example.gateway.ports, conf=Path("tunnel/b.conf")),
        )
        try:
            found.a.start()
            found.b.start()
            yield found
        finally:
            found.b.close()
            found.a.close()


def test_five_calls_make_the_service_answer(both: Both) -> None:
    assert len(both.calls()) == 5
    for answer in both.make_calls():
        assert (answer.status_code, answer.json()["changed"]) == (200, True), answer.text
    assert both.visit() == b"service:hello"
    assert [answer.json()["changed"] for answer in both.make_calls()] == [False] * 5


def test_either_gateway_is_killed_and_the_tunnel_comes_back(both: Both) -> None:
    both.make_calls()
    for gateway in (both.a, both.b):
        gateway.kill()
        gateway.start()
        assert both.visit() == b"service:hello"


def test_the_commands_of_the_readme(both: Both) -> None:
    both.make_calls()
    assert "tunnel1" in both.command(A, "ls")
    assert both.command(A, "rm", "tunnel", "tunnel1") == "removed tunnel tunnel1\n"
    # Nothing else needs to be said again when the other end dials.
    dest = f"{A}:{both.example.port(4321)}"
    assert both.command(B, "connect", "tunnel1", dest).startswith("tunnel tunnel1 is up, to a ")
    assert both.visit() == b"service:hello"
