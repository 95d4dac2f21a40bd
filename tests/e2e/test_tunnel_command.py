"""`qanat tunnel`: what is behind NAT is reached with three commands, and seen in a table."""

from __future__ import annotations

import contextlib
import json
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness.clients import connect, read_exactly, udp
from tests.harness.gateway import Gateway, run
from tests.harness.servers import echo, serve, serve_udp
from tests.harness.tunnels import Node, new_secret, start_node, stop_node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


KNOWN = """
node_name @node;
tunnels {
    listen 127.0.0.1:@tunnels;
    peer @other @key tunnels=home-*;
}
"""


@dataclass
class Command:
    """`qanat tunnel` for one gateway."""

    node: Node

    def __call__(self, *words: str) -> str:
        """Run a command that succeeds; return what it prints."""
        done = self.run(*words)
        assert done[0] == 0, done[2]
        return done[1]

    def json(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(*words, "--json"))
        return found

    def refused(self, *words: str) -> str:
        """Run a command that fails; return what it says."""
        status, _, errors = self.run(*words)
        assert status == 1
        return errors

    def run(self, *words: str) -> tuple[int, str, str]:
        control = f"127.0.0.1:{self.node.gateway.ports['control_api']}"
        done = run(["tunnel", "--control", control, *words])
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def home_and_gate(tmp_path: Path) -> Iterator[tuple[Command, Command]]:
    """Give a gateway behind NAT and one that everybody reaches."""
    secret = new_secret()
    nodes = [start_node(tmp_path / name, name, secret) for name in ("home", "gate")]
    home, gate = (Command(node) for node in nodes)
    yield home, gate
    for node in nodes:
        stop_node(node)


def test_connect_expose_listen(home_and_gate: tuple[Command, Command]) -> None:
    home, gate = home_and_gate
    with serve(echo) as target:
        up = home("connect", "t", f"127.0.0.1:{gate.node.tunnel_port}")
        assert up == f"tunnel t is up, to gate ({gate('id').strip()})\n"
        exposed = home("expose", "echo", str(target), "--key", "k")
        assert exposed == f"exposes echo, which is 127.0.0.1:{target}, to tunnel t\n"
        listens = gate.json("listen", "echo", "0", "--tunnel", "t", "--key", "k")
        with connect(int(listens["addr"].rpartition(":")[2])) as client:
            client.sendall(b"hello")
            assert read_exactly(client, 5) == b"hello"
    assert "dialled from there" in gate("ls")
    lines = [line.split() for line in home("ls").splitlines()]
    assert ["echo", "remote", "tcp", f"127.0.0.1:{target}", "yes", "t", "0", "API"] in lines
    assert gate.json("ls")["bindings"]["local"][0]["state"] == "up"
    assert gate("rm", "local", "echo") == "listens no longer for echo\n"
    assert home("rm", "remote", "echo", "--reset") == "exposes no longer echo\n"
    assert home("rm", "tunnel", "t", "--drain", "1s") == "removed tunnel t\n"
    left = home.json("ls")
    assert [left["tunnels"]["tunnels"], left["services"]["remote"]] == [[], []]
    assert left["bindings"]["remote"] == []


def test_datagrams_go_through_too(home_and_gate: tuple[Command, Command]) -> None:
    home, gate = home_and_gate
    home("connect", "t", f"127.0.0.1:{gate.node.tunnel_port}")
    with serve_udp(lambda datagram: [datagram]) as target:
        home("expose", "echo", str(target), "--udp")
        listens = gate.json("listen", "echo", "0", "--udp")
        with udp(int(listens["addr"].rpartition(":")[2])) as client:
            client.send(b"hello")
            assert client.recv(100) == b"hello"
    assert listens["protocol"] == "udp"


def test_limits_are_options(home_and_gate: tuple[Command, Command]) -> None:
    home, gate = home_and_gate
    dial = ("connect", "t", f"127.0.0.1:{gate.node.tunnel_port}")
    rates = home.json(*dial, "--send-rate", "500k", "--receive-rate", "1g")
    assert (rates["send_rate"], rates["receive_rate"]) == (500 << 10, 1 << 30)
    exposed = home.json("expose", "s", "1", "--upload-rate", "1m", "--max-streams", "7")
    assert (exposed["upload_rate"], exposed["max_streams"]) == (1 << 20, 7)
    port = gate.node.gateway.ports["clients"]
    options = ("--download-rate", "2m", "--stream-upload-rate", "3", "--stream-download-rate", "4")
    listening = gate.json("listen", "s", str(port), *options)
    assert listening["download_rate"] == 2 << 20
    assert (listening["stream_upload_rate"], listening["stream_download_rate"]) == (3, 4)
    refused = home.refused("expose", "s", "1", "--upload-rate", "fast")
    assert "upload_rate" in refused


def test_a_gateway_with_nothing_says_what_comes_next(
    home_and_gate: tuple[Command, Command],
) -> None:
    home, gate = home_and_gate
    port = gate.node.tunnel_port
    assert f"qanat tunnel connect home THIS-HOST:{port}\n" in gate("ls")
    assert "from here:\n\n    qanat tunnel connect home HOST:PORT\n" in gate("ls")
    home("connect", "t", f"127.0.0.1:{port}")
    assert "qanat tunnel expose web 127.0.0.1:80\n" in home("ls")
    assert "qanat tunnel listen web 0.0.0.0:8080\n" in gate("ls")
    home("expose", "web", "80")
    assert "yet" not in home("ls")


def test_a_gateway_without_the_block_says_so(gateway: Gateway) -> None:
    gateway.write("stream { server { listen 127.0.0.1:@front; return x; } }")
    gateway.start_with_api()
    with gateway.api() as api:
        assert "secret file:tunnel.key;" in Command(Node(gateway, api))("ls")


@pytest.mark.parametrize(
    "command", ["", "apply", "connect", "expose", "genkey", "id", "listen", "ls", "rm"]
)
def test_help_teaches_by_example(command: str) -> None:
    shown = run(["tunnel", *command.split(), "--help"]).stdout
    usage, _, taught = shown.partition("Usage: ")[2].partition("[OPTIONS]")
    assert usage.strip() == f"qanat tunnel {command}".strip()
    assert f"qanat tunnel {command}" in taught.partition("Options")[0]


def test_what_is_missing_is_said(home_and_gate: tuple[Command, Command]) -> None:
    home, _ = home_and_gate
    assert "there is none yet; name it with --tunnel" in home.refused("expose", "web", "80")
    home("expose", "web", "80", "--tunnel", "later")
    assert "later (no_tunnel)" in home("ls")
    nobody = f"127.0.0.1:{home.node.gateway.ports['nobody']}"
    said = home.refused("connect", "t", nobody, "--wait", "0.5")
    assert "tunnel t is " in said
    assert "the gateway keeps trying" in said
    assert 'there is no peer "x"' in home.refused("connect", "u", nobody, "--peer", "x")
    assert 'there is no tunnel "u"' in home.refused("rm", "tunnel", "u")
    assert 'there is no local service "web"' in home.refused("rm", "local", "web")
    assert "none of: tunnel, local, remote" in home.refused("rm", "everything", "web")


def test_gateways_that_know_each_others_keys_need_no_secret(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("home", "gate")}
    keys = {
        name: run(["tunnel", "id", "--state", str(folder / "state")]).stdout.strip()
        for name, folder in folders.items()
    }
    with contextlib.ExitStack() as stack:
        gateways = {}
        for name, other in (("home", "gate"), ("gate", "home")):
            gateway = Gateway(folders[name])
            stack.callback(gateway.close)
            gateway.write(KNOWN, node=name, other=other, key=keys[other])
            gateways[name] = gateway.start_with_api()
        home = Command(Node(gateways["home"], stack.enter_context(gateways["home"].api())))
        where = f"127.0.0.1:{gateways['gate'].port('tunnels')}"
        up = home("connect", "home-1", where, "--peer", "gate")
        assert up == f"tunnel home-1 is up, to gate ({keys['gate']})\n"
        with gateways["gate"].api() as gate:
            [peer] = gate.get("/v1/peers").json()["peers"]
        assert (peer["name"], peer["key"], peer["known"]) == ("home", keys["home"], True)
        assert peer["tunnels"] == ["home-*"]
        refused = home.refused("connect", "lab", where, "--peer", "gate", "--wait", "1")
        assert "tunnel lab is " in refused


def test_a_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "tunnel.key"
    assert run(["tunnel", "genkey", str(file)]).returncode == 0
    text = file.read_text()
    assert len(bytes.fromhex(text.strip())) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = run(["tunnel", "genkey", str(file)])
    assert again.returncode == 1
    assert "a secret is not overwritten" in again.stderr
    assert file.read_text() == text
    printed = run(["tunnel", "genkey"]).stdout
    assert len(bytes.fromhex(printed.strip())) == 32
    assert printed != text


def test_the_key_of_a_gateway_is_known_before_it_runs(tmp_path: Path) -> None:
    state = tmp_path / "a" / "state"
    before = run(["tunnel", "id", "--state", str(state)]).stdout.strip()
    assert before.startswith("ed25519:")
    node = start_node(tmp_path / "a", "a", new_secret())
    assert Command(node).json("id") == {"node": "a", "key": before}
    stop_node(node)
