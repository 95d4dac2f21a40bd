"""`qanat ctl` against a control API that answers from a script."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest
from typer.testing import CliRunner

from qanat.cli.client import Address, ControlError
from qanat.cli.commands import app
from qanat.control.views import (
    ContentView,
    ListenerView,
    ServerView,
    SkippedRuleView,
    SkippedView,
    StatusView,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def as_json(view: msgspec.Struct) -> dict[str, Any]:
    """Show a view as the API sends it."""
    answer: dict[str, Any] = json.loads(msgspec.json.encode(view))
    return answer


SERVER = as_json(
    ServerView(
        id="tcp:0.0.0.0:80/a",
        listeners=("tcp:0.0.0.0:80",),
        names=("a",),
        content=ContentView("return", "hello"),
        dynamic=True,
        sessions=3,
        origin="server_body",
    )
)
LISTENER = ListenerView(
    id="tcp:0.0.0.0:80",
    protocol="tcp",
    address="0.0.0.0:80",
    tls=True,
    mesh=False,
    proxy_protocol=False,
    default_server="tcp:0.0.0.0:80/a",
    dynamic=True,
)
STATUS = as_json(
    StatusView(
        version="0.1.0",
        node_name="node-1",
        cluster_name="",
        pid=1,
        uptime_s=1.5,
        revision=7,
        workers=1,
        sessions=3,
        servers=1,
        listeners=(LISTENER,),
        skipped=(SkippedView("tcp:0.0.0.0:1", "b", "in use"),),
        rule_tables=1,
        rules=2,
        skipped_rules=(SkippedRuleView("edge", "ssh", "no upstream"),),
    )
)


class Script(BaseHTTPRequestHandler):
    """Answers each path as the gateway would, and notes what was asked."""

    asked: ClassVar[list[tuple[str, str, Any, str | None]]] = []
    answers: ClassVar[dict[str, tuple[int, object]]] = {}

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    do_PUT = do_POST  # noqa: N815 - the name that the library calls

    def _answer(self, body: object) -> None:
        self.asked.append((self.command, self.path, body, self.headers["Authorization"]))
        status, answer = self.answers[self.path]
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    # `typing.override` is not in Python 3.11.
    def log_message(self, *_: object) -> None:  # type: ignore[explicit-override]
        """Say nothing."""


@pytest.fixture
def control() -> Iterator[str]:
    Script.asked.clear()
    Script.answers = {
        "/v1/servers": (200, {"revision": 7, "servers": [SERVER]}),
        "/v1/status": (200, STATUS),
        "/api/v1/stream_srv": (200, {"code": 0, "msg": "success."}),
    }
    with HTTPServer(("127.0.0.1", 0), Script) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ctl(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["ctl", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_servers_are_listed_as_a_table_and_as_json(control: str) -> None:
    status, text, _ = ctl("--control", control, "list")
    assert status == 0
    assert "tcp:0.0.0.0:80" in text
    assert 'return "hello"' in text
    status, text, _ = ctl("--control", control, "list", "--json")
    assert (status, json.loads(text)) == (0, {"revision": 7, "servers": [SERVER]})


def test_a_server_is_shown_by_name_or_id(control: str) -> None:
    for wanted in ("A", "tcp:0.0.0.0:80/a"):
        status, text, _ = ctl("--control", control, "show", wanted, "--json")
        assert (status, json.loads(text)) == (0, {"servers": [SERVER]})
    status, _, error = ctl("--control", control, "show", "z")
    assert (status, error) == (1, 'qanat: no virtual server has the id or name "z"\n')


def test_adding_sends_what_njet_expects(control: str, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_text("return b;")
    base = ("--control", control, "add", "0.0.0.0:80", "a")
    assert ctl(*base, "--body", "return a;")[:2] == (0, "added a on 0.0.0.0:80\n")
    assert ctl(*base, "--body-file", str(body), "--listen-option", "ssl")[0] == 0
    words = {"type": "add", "addr_port": "0.0.0.0:80", "server_name": "a"}
    assert [(method, path, sent) for method, path, sent, _ in Script.asked] == [
        ("POST", "/api/v1/stream_srv", words | {"server_body": "return a;"}),
        (
            "POST",
            "/api/v1/stream_srv",
            words | {"server_body": "return b;", "listen_option": "ssl"},
        ),
    ]


def test_removing_sends_what_njet_expects(control: str) -> None:
    assert ctl("--control", control, "remove", "0.0.0.0:80", "a")[0] == 0
    words = {"type": "del", "addr_port": "0.0.0.0:80", "server_name": "a"}
    assert Script.asked[0][:3] == ("PUT", "/api/v1/stream_srv", words)


def test_changes_are_confirmed_as_json(control: str) -> None:
    for command, done in (("add", "added"), ("remove", "removed")):
        status, text, _ = ctl("--control", control, command, "0.0.0.0:80", "a", "--json")
        assert (status, json.loads(text)) == (0, {done: {"address": "0.0.0.0:80", "name": "a"}})


def test_a_refusal_is_printed_and_ends_with_status_one(control: str) -> None:
    Script.answers["/api/v1/stream_srv"] = (200, {"code": 5, "msg": "it exists"})
    assert ctl("--control", control, "remove", "0.0.0.0:80", "a") == (1, "", "qanat: it exists\n")
    Script.answers["/v1/status"] = (401, {"error": {"code": "x", "message": "wants a token"}})
    assert ctl("--control", control, "status") == (1, "", "qanat: wants a token\n")


def test_the_status_names_what_is_not_served(control: str) -> None:
    status, text, error = ctl("--control", control, "status")
    assert status == 0
    assert "tls" in text
    assert error.splitlines() == [
        "not served: b on tcp:0.0.0.0:1: in use",
        "not served: rule edge/ssh: no upstream",
    ]


def test_the_token_comes_from_a_file_or_the_environment(
    control: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("one\n")
    monkeypatch.setenv("QANAT_TOKEN", "two")
    ctl("--control", control, "--token-file", str(tmp_path / "token"), "list")
    ctl("--control", control, "list")
    assert [token for _, _, _, token in Script.asked] == ["Bearer one", "Bearer two"]


def test_nobody_there_is_said_so(tmp_path: Path) -> None:
    status, _, error = ctl("--control", f"unix:{tmp_path}/q.sock", "list")
    assert status == 1
    assert error.startswith(f"qanat: no answer from the gateway at unix:{tmp_path}/q.sock: ")


@pytest.mark.parametrize(
    ("text", "host", "port", "location"),
    [
        ("127.0.0.1:8081", "127.0.0.1", 8081, "/api"),
        ("http://[::1]:8081/", "::1", 8081, "/api"),
        ("https://gw.example/control", "gw.example", 443, "/control"),
    ],
)
def test_addresses_of_the_control_api(text: str, host: str, port: int, location: str) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, address.location) == (host, port, location)


@pytest.mark.parametrize("text", ["http://", "ftp://a", "a:b"])
def test_wrong_addresses_of_the_control_api(text: str) -> None:
    with pytest.raises(ControlError):
        Address.parse(text)
