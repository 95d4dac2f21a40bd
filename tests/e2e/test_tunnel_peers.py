"""A tunnelled service is a peer: `proxy_pass` and `upstream` treat it as they do an address."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from tests.harness.certificates import Authority, name_of, server_context
from tests.harness.clients import (
    ask,
    connect,
    connect_tls,
    read_all,
    read_exactly,
)
from tests.harness.forwarding import Forwarding, echoed
from tests.harness.servers import (
    accept,
    echo,
    listen,
    listen_unix,
    port_of,
    serve,
    serve_tls,
    tagged,
)
from tests.harness.tunnels import Node, configure, new_secret, reload, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHARED = new_secret()
BALANCED = """
stream {
    log_format seen '$status $upstream_addr';
    access_log logs/access.log seen;
    upstream both {
        server tunnel:one/s weight=2;
        server tunnel:two/s;
    }
    server { listen 127.0.0.1:@both; proxy_pass both; }
    server { listen 127.0.0.1:@direct; proxy_pass tunnel:one/s; }
}
"""


def far_side(target: object, tunnel: str, more: str = "") -> str:
    return f"service s remote {target} {more}; bind {tunnel} s remote;"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, folder: Path, name: str, tunnels: str, rest: str = "") -> Node:
    node = start_node(folder / name, name, SHARED, tunnels, rest)
    stack.callback(stop_node, node)
    return node


def two_far_sides(stack: ExitStack, folder: Path) -> dict[str, Node]:
    """Start two gateways that serve `s` at the far end of tunnels `one` and `two`."""
    found = {}
    for name in ("one", "two"):
        target = stack.enter_context(serve(tagged(name)))
        found[name] = start(stack, folder, name, far_side(f"127.0.0.1:{target}", name))
    return found


def dials(far: dict[str, Node]) -> str:
    return " ".join(f"tunnel {name} 127.0.0.1:{node.tunnel_port};" for name, node in far.items())


def wait_for_state(node: Node, tunnel: str, *, is_up: bool) -> None:
    until(lambda: (node.state_of(tunnel) == "up") is is_up, f"tunnel {tunnel}")


def wait_until_up(node: Node, *tunnels: str) -> None:
    for name in tunnels:
        wait_for_state(node, name, is_up=True)


def test_upstreams_balance_over_tunnels_by_weight_and_fail_over(
    stack: ExitStack, tmp_path: Path
) -> None:
    far = two_far_sides(stack, tmp_path)
    near = start(stack, tmp_path, "near", dials(far), BALANCED)
    wait_until_up(near, "one", "two")
    port = near.gateway.ports["both"]
    assert Counter(ask(port) for _ in range(9)) == {b"one": 6, b"two": 3}
    far["one"].delete("/tunnel", name="one")
    assert {ask(port) for _ in range(6)} == {b"two"}
    far["one"].gateway.kill()
    assert {ask(port) for _ in range(6)} == {b"two"}


def test_a_service_that_is_refused_at_one_far_side_is_taken_from_the_other(
    stack: ExitStack, tmp_path: Path
) -> None:
    far = two_far_sides(stack, tmp_path)
    near = start(stack, tmp_path, "near", dials(far), BALANCED)
    wait_until_up(near, "one", "two")
    lost = far["one"]
    # It is offered, but not to whoever lacks the key.
    configure(lost.gateway, "one", SHARED, far_side("127.0.0.1:9", "one", "key=another"))
    reload(lost)
    assert {ask(near.gateway.ports["both"]) for _ in range(6)} == {b"two"}
    assert near.gateway.wait_for_log("refused by the other end of tunnel one: key_mismatch")


def test_a_service_that_is_bound_to_two_tunnels_uses_both_and_survives_the_loss_of_either(
    stack: ExitStack, tmp_path: Path
) -> None:
    far = two_far_sides(stack, tmp_path)
    near = start(stack, tmp_path, "near", dials(far))
    wait_until_up(near, "one", "two")
    port = near.gateway.ports["visitors"]
    near.post("/service", name="s", type="local", addr=["127.0.0.1", port])
    for tunnel in far:
        near.post("/bind", tunnel=tunnel, service="s", type="local")
    assert Counter(ask(port) for _ in range(6)) == {b"one": 3, b"two": 3}
    for lost, left in (("one", b"two"), ("two", b"one")):
        far[lost].gateway.kill()
        wait_for_state(near, lost, is_up=False)
        assert {ask(port) for _ in range(4)} == {left}
        far[lost].gateway.start_with_api()
        wait_until_up(near, lost)
    assert Counter(ask(port) for _ in range(6)) == {b"one": 3, b"two": 3}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_target_learns_who_the_visitor_is(pair: tuple[Node, Node], version: str) -> None:
    with listen() as target:
        way = Forwarding(*pair, port_of(target)).make()
        way.remote(proxy_protocol=version)
        with connect(way.port, source="127.0.0.5") as visitor:
            visitor.sendall(b"x")
            with accept(target) as served:
                source, listener = visitor.getsockname(), visitor.getpeername()
                if version == "v1":
                    line = f"PROXY TCP4 127.0.0.5 127.0.0.1 {source[1]} {listener[1]}\r\n"
                    expected = line.encode()
                else:
                    expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
                    expected += socket.inet_aton(source[0]) + socket.inet_aton(listener[0])
                    expected += source[1].to_bytes(2, "big") + listener[1].to_bytes(2, "big")
                assert read_exactly(served, len(expected) + 1) == expected + b"x"


def test_tls_is_spoken_to_a_target_behind_a_tunnel(
    stack: ExitStack, tmp_path: Path, authority: Authority
) -> None:
    pair = authority.issue("target.test")
    target = stack.enter_context(serve_tls(tagged("over TLS"), server_context(pair)))
    far = start(stack, tmp_path, "far", far_side(f"127.0.0.1:{target}", "t"))
    rest = f"""
    stream {{
        server {{
            listen 127.0.0.1:@visitors;
            proxy_ssl on;
            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {authority.path};
            proxy_ssl_name target.test;
            proxy_pass tunnel:t/s;
        }}
    }}
    """
    near = start(stack, tmp_path, "near", f"tunnel t 127.0.0.1:{far.tunnel_port};", rest)
    assert ask(near.gateway.ports["visitors"]) == b"over TLS"


def test_tls_passes_through_to_its_own_end(pair: tuple[Node, Node], authority: Authority) -> None:
    issued = authority.issue("target.test")
    with serve_tls(tagged("through"), server_context(issued)) as target:
        way = Forwarding(*pair, target).make()
        with connect_tls(way.port, "target.test") as visitor:
            assert name_of(visitor.getpeercert(binary_form=True)) == "target.test"
            assert read_all(visitor) == b"through"


def test_a_unix_socket_is_a_target(pair: tuple[Node, Node], tmp_path: Path) -> None:
    path = tmp_path / "target"
    with serve(echo, listen_unix(path)):
        way = Forwarding(*pair, f"unix:{path}").make()
        assert way.is_served()


def test_handlers_look_at_a_visitor_before_the_tunnel_is_asked(
    stack: ExitStack, tmp_path: Path
) -> None:
    target = stack.enter_context(serve(echo))
    far = start(stack, tmp_path, "far", far_side(f"127.0.0.1:{target}", "t"))
    rest = """
    stream {
        python_path ../py;
        server { listen 127.0.0.1:@visitors; proxy_half_close on;
            preread_by_python seen:word; proxy_pass tunnel:t/s; }
    }
    """
    (tmp_path / "near" / "py").mkdir(parents=True)
    (tmp_path / "near" / "py" / "seen.py").write_text(HANDLER)
    near = start(stack, tmp_path, "near", f"tunnel t 127.0.0.1:{far.tunnel_port};", rest)
    port = near.gateway.ports["visitors"]
    assert echoed(port, b"hello\nworld") == b"hello\nworld"
    with connect(port) as visitor:
        visitor.sendall(b"deny\n")
        assert read_all(visitor) == b"no"


HANDLER = '''
async def word(session):
    """Look at the first line."""
    if await session.peek(5) == b"deny\\n":
        session.reject(403, b"no")
'''
