"""`examples/rules` does what its README says."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import pytest
from tests.harness import examples
from tests.harness.certificates import server_context
from tests.harness.clients import ask, connect, connect_tls, read_all, read_exactly, tls_context
from tests.harness.gateway import run
from tests.harness.servers import echo, serve, serve_tls, tagged, tagged_after_request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.harness.certificates import Authority
    from tests.harness.examples import Example

README = (examples.EXAMPLES / "rules/README.md").read_text()


@pytest.fixture
def example(tmp_path: Path, authority: Authority) -> Iterator[Example]:
    context = server_context(authority.issue("any.example"))
    with contextlib.ExitStack() as stack:
        peers = {
            "127.0.0.1:8001": stack.enter_context(serve(echo)),
            "127.0.0.1:2222": stack.enter_context(serve(tagged_after_request("shell"))),
            "127.0.0.1:8443": stack.enter_context(serve_tls(tagged("web"), context)),
            "127.0.0.1:8883": stack.enter_context(serve_tls(tagged("queue"), context)),
        }
        yield stack.enter_context(examples.running("rules", tmp_path, elsewhere=peers))


def commands(example: Example) -> list[str]:
    """Find the `curl` commands of the README, one rule each."""
    joined = re.sub(r"\\\n\s*", " ", README)
    return [example.rewrite(line) for line in joined.splitlines() if line.startswith("curl ")]


def test_each_kind_of_session_goes_where_its_rule_says(example: Example) -> None:
    port = example.port(9000)
    with connect(port, source="127.0.1.5") as office:
        office.sendall(b"hello")
        assert read_exactly(office, 5) == b"hello"
    assert ask(port, source="127.0.0.66") == b""
    with connect(port) as shell:
        shell.sendall(b"SSH-2.0-me")
        assert read_all(shell) == b"shell:SSH-2.0-me"
    with connect_tls(port, "www.shop.example") as shop:
        assert read_all(shop) == b"web"
    with connect_tls(port, "any.example", tls_context(alpn=["mqtt"])) as queue:
        assert read_all(queue) == b"queue"
    decided = [re.search(r"rule=(\S+)", line) for line in example.gateway.log_lines(5, "rules.log")]
    seen = sorted(found[1] for found in decided if found is not None)
    assert seen == ["blocked", "office", "queue", "shell", "shop"]


def test_rules_change_under_an_open_connection_and_are_kept(example: Example) -> None:
    port, rules = example.port(9000), "/v1/rules/edge"
    asked = [command.partition(" $rules")[2] for command in commands(example)]
    assert [path.split()[0] for path in asked if path] == [
        *("/edge/http", "/edge/guest", "/edge", "/edge/guest")
    ]
    http = {"starts_with": ["GET ", "POST "], "pass": f"127.0.0.1:{example.port(8001)}"}
    guest = {"priority": 1, "source": ["127.0.1.5"], "reject": 403}
    with (
        example.gateway.api(example.port(8081)) as api,
        connect(port, source="127.0.1.5") as office,
    ):
        office.sendall(b"before")
        assert read_exactly(office, 6) == b"before"
        assert api.put(f"{rules}/http", json=http).status_code == 200
        with connect(port) as client:
            client.sendall(b"GET /")
            assert read_exactly(client, 5) == b"GET /"
        assert api.put(f"{rules}/guest", json=guest).status_code == 200
        assert ask(port, source="127.0.1.5") == b""
        office.sendall(b"after")
        assert read_exactly(office, 5) == b"after"
        assert api.delete(f"{rules}/guest").status_code == 200
    example.gateway.kill()
    example.gateway.start()
    with connect(port) as client:
        client.sendall(b"POST /")
        assert read_exactly(client, 6) == b"POST /"


def test_the_command_line_of_the_readme(example: Example) -> None:
    control = f"127.0.0.1:{example.port(8081)}"

    def ctl(*words: str) -> str:
        done = run(["ctl", "--control", control, "rules", *words])
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "starts_with=SSH-" in ctl("ls")
    assert ctl("match", "edge", "source=127.0.0.1", "sni=www.shop.example").startswith(
        "shop: pass=web\n  not blocked: source"
    )
    assert ctl("match", "edge", "source=127.0.0.1", "first_bytes=SSH-2.0-me").startswith("shell: ")
    put = ("put", "edge", "late", "tls=off", "port=9000-9009", "reject=421", "--note", "why")
    assert ctl(*put).startswith("put late of edge")
    assert ctl(*put).startswith("is so already")
    assert "tls=off" in ctl("ls", "edge")
    assert ctl("put", "edge", "web", "starts_with=GET ,POST ", "pass=127.0.0.1:8001")
    assert 'starts_with="GET ,POST "' in ctl("ls", "edge")
    assert ctl("rm", "edge", "late").startswith("removed late of edge")
    wrong = run(["ctl", "--control", control, "rules", "put", "edge", "x", "pass=nobody"])
    assert wrong.returncode == 1
    assert 'no upstream "nobody"' in wrong.stderr
