"""Unix sockets in front of the gateway and behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.clients import ask, connect_unix, read_all
from tests.harness.gateway import MAIN
from tests.harness.servers import echo, listen_unix, serve, tagged

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.gateway import Gateway

CONFIG = """
stream {
    log_format seen '$remote_addr $remote_port $status $upstream_addr';
    access_log logs/access.log seen;
    server {
        listen unix:@front;
        allow unix:;
        deny all;
        return "from $remote_addr";
    }
    server {
        listen unix:@closed;
        deny unix:;
        return "never";
    }
    server {
        listen 127.0.0.1:@tcp;
        proxy_pass unix:@peer;
    }
}
"""


def write(gateway: Gateway, directory: Path) -> None:
    paths: dict[str, object] = {
        name: directory / f"{name}.sock" for name in ("front", "closed", "peer")
    }
    gateway.write(CONFIG, main=MAIN, **paths)


def test_in_front(gateway: Gateway, tmp_path: Path) -> None:
    write(gateway, tmp_path)
    gateway.start()
    with connect_unix(tmp_path / "front.sock") as client:
        assert read_all(client) == b"from unix:"
    with connect_unix(tmp_path / "closed.sock") as client:
        assert read_all(client) == b""
    assert gateway.log_lines(2) == ["unix:  200 -", "unix:  403 -"]


def test_behind(gateway: Gateway, tmp_path: Path) -> None:
    write(gateway, tmp_path)
    gateway.start()
    with serve(tagged("from the socket"), listen_unix(tmp_path / "peer.sock")):
        assert ask(gateway.port("tcp")) == b"from the socket"
    assert gateway.log_lines(1)[0].endswith(f"200 unix:{tmp_path}/peer.sock")


def test_from_one_to_the_other(gateway: Gateway, tmp_path: Path) -> None:
    config = "stream { server { listen unix:@front; proxy_pass unix:@peer; } }"
    gateway.write(config, front=tmp_path / "front.sock", peer=tmp_path / "peer.sock")
    gateway.start()
    with (
        serve(echo, listen_unix(tmp_path / "peer.sock")),
        connect_unix(tmp_path / "front.sock") as client,
    ):
        client.sendall(b"there and back")
        assert client.recv(100) == b"there and back"


def test_the_path_is_freed_at_the_end(gateway: Gateway, tmp_path: Path) -> None:
    write(gateway, tmp_path)
    gateway.start().stop()
    assert not (tmp_path / "front.sock").exists()
    gateway.start()
