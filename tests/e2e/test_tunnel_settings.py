"""What stands in `stream` holds for tunnelled services, too, at either end: logs, handlers, access
rules, timeouts. The block `tunnels` may say it otherwise."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.harness.clients import connect, read_all, udp
from tests.harness.forwarding import echoed, talks
from tests.harness.servers import echo, serve, serve_udp
from tests.harness.tunnels import Node, configure, new_secret, reload, start_node, stop_node

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

SHARED = new_secret()
PHASES = """
    access_by_python app:arrive;
    preread_by_python app:look;
    log_by_python app:note;
    access_log logs/noted.log noted;
"""
SEEN = """
    python_path ../py;
    map $remote_addr $noted { default -; }
    log_format seen '$remote_addr $tunnel_name/$tunnel_service $status $upstream_addr';
    log_format noted '$remote_addr $status $noted';
    access_log logs/access.log seen;
"""
HANDLERS = '''
import qanat


async def arrive(session: qanat.AccessSession) -> None:
    """Admit all but one address."""
    if str(session.client[0]) == "127.0.0.7":
        session.reject(403, b"not you")


async def look(session: qanat.PrereadSession) -> None:
    """Refuse a word."""
    if await session.peek(4) == b"deny":
        session.reject(403, b"no")


def note(record: qanat.LogRecord) -> None:
    """Note what the session came through."""
    names = (record.vars.get(f"tunnel_{what}", "-") for what in ("name", "service"))
    record.vars["noted"] = "/".join(names)
'''


class Pair:
    """A gateway that visitors come to, and one that has the targets; each with settings."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self.target = stack.enter_context(serve(echo))
        self.datagrams = stack.enter_context(serve_udp(lambda datagram: [datagram]))
        self.near = self.far = ("", "")
        self.blocks: dict[str, str] = {}

    def start(self) -> tuple[Node, Node]:
        """Start both with the settings of `tunnels` and `stream` that were given."""
        far = self._start("far", self.far, self._targets())
        dial = f"tunnel t 127.0.0.1:{far.tunnel_port};"
        near = self._start("near", self.near, dial + self._fronts())
        return near, far

    def _targets(self) -> str:
        return (
            f"service s remote 127.0.0.1:{self.target}; bind t s remote;"
            f"service d remote 127.0.0.1:{self.datagrams} udp; bind t d remote;"
        )

    def _fronts(self) -> str:
        return (
            "service s local 127.0.0.1:@visitors; bind t s local;"
            "service d local 127.0.0.1:@clients udp; bind t d local;"
        )

    def _start(self, name: str, settings: tuple[str, str], services: str) -> Node:
        folder = self._folder / name
        folder.mkdir()
        (folder / "py").mkdir()
        (folder / "py" / "app.py").write_text(HANDLERS)
        tunnels, stream = settings
        self.blocks[name] = services + tunnels
        node = start_node(folder, name, SHARED, self.blocks[name], f"stream {{ {stream} }}")
        self._stack.callback(stop_node, node)
        return node


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(stack, tmp_path)


def visit(node: Node, source: str, data: bytes = b"hello") -> bytes:
    """Say something at the near end; return what comes back before the end."""
    with connect(node.gateway.ports["visitors"], source=source) as visitor:
        visitor.sendall(data)
        return visitor.recv(len(data))


def test_a_session_is_logged_at_both_ends_with_its_tunnel_and_its_client(pair: Pair) -> None:
    pair.near = pair.far = ("", SEEN)
    near, far = pair.start()
    assert visit(near, "127.0.0.5") == b"hello"
    with udp(near.gateway.ports["clients"], source="127.0.0.6") as client:
        assert talks(client)
        assert near.gateway.log_lines(1) == ["127.0.0.5 t/s 200 tunnel:t/s"]
        assert far.gateway.log_lines(1) == [f"127.0.0.5 t/s 200 127.0.0.1:{pair.target}"]
        far.delete("/tunnel", name="t").raise_for_status()
        assert near.gateway.log_lines(2)[1].startswith("127.0.0.6 t/d ")
        assert far.gateway.log_lines(2)[1].startswith("127.0.0.6 t/d ")
        assert far.gateway.log_lines(2)[1].endswith(f" 127.0.0.1:{pair.datagrams}")


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_who_has_waited_is_logged_with_the_tunnel_that_came(pair: Pair, protocol: str) -> None:
    pair.near = ("", SEEN + "proxy_timeout 1s;")
    near, far = pair.start()
    port = near.gateway.ports["more"]
    target = pair.target if protocol == "tcp" else pair.datagrams
    for node, kind, where in ((near, "local", port), (far, "remote", target)):
        service = {"name": "s2", "protocol": protocol, "addr": ["127.0.0.1", where]}
        node.post("/service", type=kind, **service).raise_for_status()
    far.post("/bind", tunnel="t", service="s2", type="remote").raise_for_status()
    with connect(port) if protocol == "tcp" else udp(port) as client:
        client.sendall(b"hello")
        near.post("/bind", tunnel="t", service="s2", type="local").raise_for_status()
        assert client.recv(100) == b"hello"
    assert near.gateway.log_lines(1) == ["127.0.0.1 t/s2 200 tunnel:t/s2"]


def test_the_block_tunnels_has_the_last_word(pair: Pair) -> None:
    own = "access_log logs/tunnels.log seen; error_log logs/tunnels_error.log info;"
    pair.near = (own, SEEN)
    pair.far = ("access_log off;", SEEN)
    near, far = pair.start()
    assert visit(near, "127.0.0.5") == b"hello"
    assert near.gateway.log_lines(1, "tunnels.log") == ["127.0.0.5 t/s 200 tunnel:t/s"]
    assert any("127.0.0.5" in line for line in near.gateway.log_lines(1, "tunnels_error.log"))
    for node in (near, far):
        assert not (node.gateway.prefix / "logs" / "access.log").exists()


@pytest.mark.parametrize("where", ["near", "far"])
def test_addresses_are_refused_at_either_end(pair: Pair, where: str) -> None:
    setattr(pair, where, ("", f"{SEEN} deny 127.0.0.6; allow all;"))
    near, far = pair.start()
    assert visit(near, "127.0.0.5") == b"hello"
    with connect(near.gateway.ports["visitors"], source="127.0.0.6") as visitor:
        assert is_over(visitor)
    refusing = near if where == "near" else far
    [refused] = [line for line in refusing.gateway.log_lines(2) if line.startswith("127.0.0.6 ")]
    assert " 403 " in refused


def is_over(visitor: socket.socket) -> bool:
    """Tell whether nothing is said to a visitor, however that ends."""
    try:
        return visitor.recv(1) == b""
    except ConnectionResetError:
        return True


def test_silence_ends_a_stream(pair: Pair) -> None:
    pair.far = ("proxy_timeout 100ms;", f"{SEEN} proxy_timeout 1h;")
    near, far = pair.start()
    with connect(near.gateway.ports["visitors"]) as visitor:
        assert read_all(visitor) == b""
    assert far.gateway.log_lines(1) == [f"127.0.0.1 t/s 200 127.0.0.1:{pair.target}"]


def test_silence_ends_a_flow(pair: Pair) -> None:
    pair.far = ("", f"{SEEN} proxy_timeout 100ms;")
    near, far = pair.start()
    with udp(near.gateway.ports["clients"]) as client:
        assert talks(client)
        assert far.gateway.log_lines(1) == [f"127.0.0.1 t/d 200 127.0.0.1:{pair.datagrams}"]


@pytest.mark.parametrize("where", ["near", "far"])
def test_handlers_decide_about_streams_at_either_end(pair: Pair, where: str) -> None:
    setattr(pair, where, ("", SEEN + PHASES))
    near, far = pair.start()
    port = near.gateway.ports["visitors"]
    assert visit(near, "127.0.0.5") == b"hello"
    with connect(port, source="127.0.0.7") as visitor:
        assert read_all(visitor) == b"not you"
    with connect(port, source="127.0.0.8") as visitor:
        visitor.sendall(b"deny")
        assert read_all(visitor) == b"no"
    deciding = near if where == "near" else far
    before = "-/-" if where == "near" else "t/s"
    assert sorted(deciding.gateway.log_lines(3, "noted.log")) == [
        "127.0.0.5 200 t/s",
        f"127.0.0.7 403 {before}",
        f"127.0.0.8 403 {before}",
    ]


@pytest.mark.parametrize("where", ["near", "far"])
def test_handlers_decide_about_flows_at_either_end(pair: Pair, where: str) -> None:
    setattr(pair, where, (PHASES, SEEN))
    near, far = pair.start()
    port = near.gateway.ports["clients"]
    with udp(port, source="127.0.0.5") as client:
        assert talks(client, b"hello")
        for number in range(20):
            client.send(b"%d" % number)
        assert [int(client.recv(100)) for _ in range(20)] == list(range(20))
    for source, said, answer in (
        ("127.0.0.7", b"x", b"not you"),
        ("127.0.0.8", b"deny", b"no"),
    ):
        with udp(port, source=source) as client:
            client.send(said)
            assert client.recv(100) == answer
    deciding = near if where == "near" else far
    before = "-/-" if where == "near" else "t/d"
    assert sorted(deciding.gateway.log_lines(2, "noted.log")) == [
        f"127.0.0.7 403 {before}",
        f"127.0.0.8 403 {before}",
    ]


def test_settings_hold_for_services_of_the_api_and_follow_a_reload(pair: Pair) -> None:
    pair.near = ("", SEEN)
    near, far = pair.start()
    port = near.gateway.ports["more"]
    for node, kind, where in ((near, "local", port), (far, "remote", pair.target)):
        node.post("/service", name="s2", type=kind, addr=["127.0.0.1", where]).raise_for_status()
        node.post("/bind", tunnel="t", service="s2", type=kind).raise_for_status()
    assert echoed(port, b"x") == b"x"
    assert near.gateway.log_lines(1) == ["127.0.0.1 t/s2 200 tunnel:t/s2"]
    other = SEEN.replace("access.log", "other.log")
    configure(near.gateway, "near", SHARED, pair.blocks["near"], f"stream {{ {other} }}")
    assert "reconfigured" in reload(near)
    assert echoed(port, b"x") == b"x"
    assert near.gateway.log_lines(1, "other.log") == ["127.0.0.1 t/s2 200 tunnel:t/s2"]
