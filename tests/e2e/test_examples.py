"""The examples run as they stand, on other ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness import examples
from tests.harness.clients import ask, ask_udp
from tests.harness.servers import serve, tagged

if TYPE_CHECKING:
    from pathlib import Path


def test_the_first_example(tmp_path: Path) -> None:
    with (
        serve(tagged("a peer")) as peer,
        examples.running("first", tmp_path, "nginx.conf", {"127.0.0.1:8001": peer}) as first,
    ):
        assert ask(first.port("127.0.0.1:9000")) == b"a peer"
        assert ask(first.port(9001)) == b"you are 127.0.0.1\n"
        assert ask_udp(first.port(9002), b"?") == b"datagram from 127.0.0.1\n"
        with first.gateway.api(first.port(8081)) as api:
            assert api.get("/v1/status").status_code == 200


def test_open_addresses_are_replaced_by_some_on_loopback(tmp_path: Path) -> None:
    first = examples.prepare("first", tmp_path, "nginx.conf")
    port = first.port(9000)
    assert first.rewrite("listen 9000 udp;") == f"listen 127.0.0.1:{port} udp;"
    assert first.rewrite("listen *:9000;") == f"listen 127.0.0.1:{port};"
    assert first.rewrite("listen  127.0.0.1:9000;") == f"listen  127.0.0.1:{port};"
    assert (
        first.rewrite("nc localhost:9000 127.0.0.1:9000") == f"nc localhost:{port} 127.0.0.1:{port}"
    )
    first.gateway.close()
