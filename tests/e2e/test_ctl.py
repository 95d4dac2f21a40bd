"""`qanat ctl`: a running gateway from the shell, for people and for programs."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.harness.clients import ask
from tests.harness.gateway import COMMAND, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    server { listen 127.0.0.1:@front; server_name file.test; return "hello"; }
}
"""
MAIN = "error_log logs/error.log info;\nevents { }\n"


class Ctl:
    """`qanat ctl` for one gateway."""

    def __init__(self, address: str, *options: str) -> None:
        self.options = ["ctl", "--control", address, *options]

    def __call__(self, *arguments: str) -> str:
        """Run a command that succeeds; return what it prints."""
        result = run([*self.options, *arguments])
        assert result.returncode == 0, result.stderr
        return result.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        """Run a command with --json."""
        answer: dict[str, Any] = json.loads(self(*arguments, "--json"))
        return answer

    def refused(self, *arguments: str) -> str:
        """Run a command that fails; return what it says."""
        result = run([*self.options, *arguments])
        assert (result.returncode, result.stdout) == (1, "")
        return result.stderr


@pytest.fixture
def ctl(gateway: Gateway) -> Ctl:
    gateway.write(CONFIG)
    gateway.start_with_api()
    return Ctl(f"http://127.0.0.1:{gateway.port('control_api')}")


def test_add_list_show_remove(gateway: Gateway, ctl: Ctl, tmp_path: Path) -> None:
    where = f"127.0.0.1:{gateway.port('new')}"
    assert ctl("add", where, "first", "--body", 'return "first";') == f"added first on {where}\n"
    assert ask(gateway.port("new")) == b"first"
    listed = ctl.json("list")["servers"]
    assert [(server["names"], server["dynamic"]) for server in listed] == [
        (["file.test"], False),
        (["first"], True),
    ]
    table = ctl("list")
    for word in ("file.test", f"tcp:{where}", 'return "hello"', "API", "revision"):
        assert word in table
    shown = ctl.json("show", "FIRST")["servers"]
    assert shown == [listed[1]]
    assert ctl.json("show", listed[0]["id"])["servers"] == [listed[0]]
    assert "first" in ctl("show", "first")

    body = tmp_path / "body.conf"
    body.write_text('return "from a file";\n')
    ctl("add", where, "second", "--body-file", str(body))
    assert ctl("remove", where, "first") == f"removed first from {where}\n"
    assert ask(gateway.port("new")) == b"from a file"


def test_a_body_from_standard_input(gateway: Gateway, ctl: Ctl) -> None:
    where = f"127.0.0.1:{gateway.port('new')}"
    command = [str(COMMAND), *ctl.options, "add", where, "piped", "--body-file", "-"]
    subprocess.run(command, input=b'return "piped";', check=True, capture_output=True)
    assert ask(gateway.port("new")) == b"piped"


def test_status(gateway: Gateway, ctl: Ctl) -> None:
    status = ctl.json("status")
    assert gateway.process is not None
    assert status["pid"] == gateway.process.pid
    table = ctl("status")
    for word in (status["version"], f"tcp:127.0.0.1:{gateway.port('front')}", "revision"):
        assert word in table


def test_refusals_say_why(gateway: Gateway, ctl: Ctl) -> None:
    where = f"127.0.0.1:{gateway.port('front')}"
    assert ctl.refused("add", where, "file.test") == (
        f"qanat: error:[{where}] server[file.test] exist!\n"
    )
    assert ctl.refused("add", where, "a", "--body", "\nretrun x;").startswith(
        'qanat: unknown directive "retrun" in server_body:2'
    )
    assert "no find server [a]" in ctl.refused("remove", where, "a")
    assert 'no virtual server has the id or name "a"' in ctl.refused("show", "a")
    assert len(ctl.json("list")["servers"]) == 1


def test_a_gateway_that_does_not_answer(gateway: Gateway) -> None:
    nobody = f"http://127.0.0.1:{gateway.port('nobody')}"
    refused = Ctl(nobody).refused("list")
    assert refused.startswith(f"qanat: no answer from the gateway at {nobody}: ")
    assert Ctl("http://127.0.0.1:port").refused("list") == (
        'qanat: invalid port in the control address "http://127.0.0.1:port"\n'
    )


def test_unix_socket_and_token(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, token = tmp_path / "control.sock", tmp_path / "token"
    token.write_text("secret\n")
    gateway.write(CONFIG, f"{MAIN}control unix:{path} token_file={token};\n")
    gateway.start()
    address = f"unix:{path}"
    assert "wants a bearer token" in Ctl(address).refused("list")
    assert len(Ctl(address, "--token-file", str(token)).json("list")["servers"]) == 1
    monkeypatch.setenv("QANAT_TOKEN", "secret")
    assert len(Ctl(address).json("list")["servers"]) == 1
