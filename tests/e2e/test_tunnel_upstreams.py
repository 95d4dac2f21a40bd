"""What `upstream` and `server` do with addresses they do with tunnelled services: each way of
balancing, the next peer, passive health, limits, TLS, PROXY headers and handlers."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.harness.certificates import Authority
from tests.harness.clients import (
    ask_udp,
    connect,
    connect_tls,
    read_all,
    read_exactly,
)
from tests.harness.servers import accept, echo, listen, port_of, serve, serve_udp
from tests.harness.tunnels import Node, new_secret, start_node, stop_node
from tests.harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG = """
stream {
    python_path ../py;
    log_format tries '$status $upstream_addr';
    log_format told '$proxy_protocol_addr $upstream_addr';
    access_log logs/access.log tries;
    upstream least { least_conn; server tunnel:one/s; server tunnel:two/s; }
    upstream sticky { hash $remote_addr consistent; server tunnel:one/s; server tunnel:two/s; }
    upstream two_of { random two least_conn; server tunnel:one/s; server tunnel:two/s; }
    upstream failing { server tunnel:one/lost fail_timeout=1h; server tunnel:two/s; }
    upstream patient { server tunnel:one/lost max_fails=0; server tunnel:two/s; }
    upstream spare { server tunnel:one/lost max_fails=0; server tunnel:two/s backup; }
    upstream off { server tunnel:one/s down; server tunnel:two/s; }
    upstream bounded { server tunnel:one/s max_conns=1; server tunnel:two/s max_conns=1; }
    upstream mixed { server tunnel:one/lost max_fails=0; server 127.0.0.1:@local; }
    upstream datagrams { server tunnel:one/d; server tunnel:two/d; }
    upstream chosen { balance_by_python app:choose; }
    upstream again { balance_by_python app:try_again; }
    upstream chosen_datagrams { balance_by_python app:choose_datagrams; }
    server { listen 127.0.0.1:@least; proxy_pass least; }
    server { listen 127.0.0.1:@sticky; proxy_pass sticky; }
    server { listen 127.0.0.1:@two_of; proxy_pass two_of; }
    server { listen 127.0.0.1:@failing; proxy_pass failing; access_log logs/failing.log tries; }
    server { listen 127.0.0.1:@patient; proxy_pass patient; }
    upstream gone { server tunnel:one/gone max_fails=0; server tunnel:two/s; }
    server { listen 127.0.0.1:@never; proxy_pass gone; proxy_next_upstream off; }
    server { listen 127.0.0.1:@spare; proxy_pass spare; }
    server { listen 127.0.0.1:@off; proxy_pass off; }
    server { listen 127.0.0.1:@bounded; proxy_pass bounded; access_log logs/bounded.log tries; }
    server { listen 127.0.0.1:@mixed; proxy_pass mixed; }
    server { listen 127.0.0.1:@datagrams udp; proxy_pass datagrams; }
    server { listen 127.0.0.1:@denied; deny 127.0.0.6; allow all; proxy_pass tunnel:one/s; }
    server { listen 127.0.0.1:@silent; proxy_timeout 100ms; proxy_pass tunnel:one/raw; }
    server { listen 127.0.0.1:@v1; proxy_protocol on; proxy_pass tunnel:one/raw; }
    server { listen 127.0.0.1:@v2; proxy_protocol v2; proxy_pass tunnel:one/raw; }
    server { listen 127.0.0.1:@header proxy_protocol; proxy_pass tunnel:one/raw;
        access_log logs/told.log told; }
    server { listen 127.0.0.1:@tls ssl; ssl_certificate tls.test.pem;
        ssl_certificate_key tls.test.key; proxy_pass tunnel:two/s; }
    server { listen 127.0.0.1:@chosen; proxy_pass chosen; }
    server { listen 127.0.0.1:@again; proxy_pass again; }
    server { listen 127.0.0.1:@chosen_datagrams udp; proxy_pass chosen_datagrams; }
    server { listen 127.0.0.1:@by_variable; set $where two; proxy_pass tunnel:$where/s; }
}
"""
HANDLERS = '''
from qanat import Peer


def choose(session):
    """One tunnel for one client, another for all others."""
    is_one = session.client[0] == "127.0.0.5"
    return "tunnel:one/s" if is_one else Peer("tunnel:two/s", connect_timeout=5)


def try_again(session):
    """Try one that fails first."""
    session.more_tries(1)
    return ("tunnel:one/lost", "tunnel:two/s")[session.tries]


def choose_datagrams(session):
    """Choose for datagrams."""
    return "tunnel:two/d"
'''


@dataclass
class Site:
    """A gateway that visitors come to, two others, and what a test plays itself."""

    near: Node
    raw: socket.socket
    """The target of `raw`, behind tunnel `one`."""

    def port(self, front: str) -> int:
        return self.near.gateway.ports[front]

    def visit(self, front: str, source: str | None = None) -> tuple[socket.socket, str]:
        """Connect, and read which gateway's target it is."""
        visitor = connect(self.port(front), source=source)
        return visitor, read_exactly(visitor, 3).decode()

    def who(self, front: str, source: str | None = None) -> str:
        """Tell which gateway's target answers."""
        with connect(self.port(front), source=source) as visitor:
            return read_exactly(visitor, 3).decode()


def greeting(name: str) -> Callable[[socket.socket], None]:
    """Say a name, then echo."""

    def handle(connection: socket.socket) -> None:
        connection.sendall(name.encode())
        echo(connection)

    return handle


def saying(name: str) -> Callable[[bytes], list[bytes]]:
    """Answer each datagram with a name."""
    return lambda _: [name.encode()]


def is_up(node: Node, tunnel: str) -> bool:
    return node.state_of(tunnel) == "up"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, secret = tmp_path_factory.mktemp("upstreams"), new_secret()
    with ExitStack() as stack:
        raw = stack.enter_context(listen())
        dials = ""
        for name in ("one", "two"):
            target = stack.enter_context(serve(greeting(name)))
            datagrams = stack.enter_context(serve_udp(saying(name)))
            services = f"""
                service s remote 127.0.0.1:{target}; bind {name} s remote;
                service d remote 127.0.0.1:{datagrams} udp; bind {name} d remote;
                service raw remote 127.0.0.1:{port_of(raw)}; bind {name} raw remote;
                service lost remote 127.0.0.1:@nobody; bind {name} lost remote;
                service gone remote 127.0.0.1:@nobody; bind {name} gone remote;
            """
            far = start_node(folder / name, name, secret, services)
            stack.callback(stop_node, far)
            dials += f"tunnel {name} 127.0.0.1:{far.tunnel_port};"
        local = stack.enter_context(serve(greeting("loc")))
        (folder / "near" / "py").mkdir(parents=True)
        (folder / "near" / "py" / "app.py").write_text(HANDLERS)
        Authority(folder / "near" / "conf").issue("tls.test")
        config = CONFIG.replace("@local", str(local))
        near = start_node(folder / "near", "near", secret, dials, config)
        stack.callback(stop_node, near)
        for name in ("one", "two"):
            until(partial(is_up, near, name), f"tunnel {name}")
        yield Site(near, raw)


def test_least_conn(site: Site) -> None:
    visits = [site.visit("least") for _ in range(4)]
    assert sorted(name for _, name in visits) == ["one", "one", "two", "two"]
    for visitor, _ in visits:
        visitor.close()


def test_hash_keeps_a_client_at_its_peer(site: Site) -> None:
    sources = [f"127.0.1.{number}" for number in range(1, 21)]
    chosen = {source: site.who("sticky", source) for source in sources}
    assert set(chosen.values()) == {"one", "two"}
    assert {source: site.who("sticky", source) for source in sources} == chosen


def test_random_of_two(site: Site) -> None:
    visits = [site.visit("two_of") for _ in range(4)]
    assert Counter(name for _, name in visits) == {"one": 2, "two": 2}
    for visitor, _ in visits:
        visitor.close()


def test_a_peer_that_has_failed_is_left_out(site: Site) -> None:
    assert [site.who("failing") for _ in range(4)] == ["two"] * 4
    lines = site.near.gateway.log_lines(4, "failing.log")
    assert lines == ["200 tunnel:one/lost, tunnel:two/s"] + ["200 tunnel:two/s"] * 3
    site.near.gateway.wait_for_log("upstream server temporarily disabled")


def test_the_next_peer_is_taken(site: Site) -> None:
    assert {site.who("patient") for _ in range(4)} == {"two"}
    assert {site.who("spare") for _ in range(2)} == {"two"}
    assert {site.who("off") for _ in range(2)} == {"two"}
    assert {site.who("mixed") for _ in range(2)} == {"loc"}


def test_without_next_upstream_a_failure_is_the_client_s(site: Site) -> None:
    seen = []
    for _ in range(2):
        try:
            seen.append(site.who("never"))
        except ConnectionResetError:
            seen.append("reset")
    assert sorted(seen) == ["reset", "two"]


def test_max_conns(site: Site) -> None:
    visits = [site.visit("bounded") for _ in range(2)]
    assert sorted(name for _, name in visits) == ["one", "two"]
    with connect(site.port("bounded")) as third:
        assert read_all(third) == b""
    assert site.near.gateway.log_lines(1, "bounded.log") == ["502 bounded"]
    visits[0][0].close()
    until(lambda: len(site.near.gateway.log_lines(2, "bounded.log")) == 2, "the end of one")
    assert site.who("bounded") == visits[0][1]
    visits[1][0].close()


def test_who_is_denied_never_reaches_the_tunnel(site: Site) -> None:
    assert site.who("denied", "127.0.0.5") == "one"
    with (
        connect(site.port("denied"), source="127.0.0.6") as visitor,
        suppress(ConnectionResetError),
    ):
        assert read_all(visitor) == b""


def test_silence_ends_a_session(site: Site) -> None:
    with connect(site.port("silent")) as visitor, accept(site.raw) as target:
        assert read_all(visitor) == b""
        assert read_all(target) == b""


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_header_of_proxy_protocol_goes_to_the_target(site: Site, version: str) -> None:
    with connect(site.port(version), source="127.0.0.5") as visitor:
        visitor.sendall(b"x")
        source, port = visitor.getsockname()[1], site.port(version)
        with accept(site.raw) as target:
            if version == "v1":
                expected = f"PROXY TCP4 127.0.0.5 127.0.0.1 {source} {port}\r\n".encode()
            else:
                expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
                expected += socket.inet_aton("127.0.0.5") + socket.inet_aton("127.0.0.1")
                expected += source.to_bytes(2, "big") + port.to_bytes(2, "big")
            assert read_exactly(target, len(expected) + 1) == expected + b"x"


def test_a_header_that_comes_in_is_taken_off(site: Site) -> None:
    with connect(site.port("header")) as visitor:
        visitor.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 1000 2000\r\nhello")
        with accept(site.raw) as target:
            assert read_exactly(target, 5) == b"hello"
    assert site.near.gateway.log_lines(1, "told.log") == ["192.0.2.7 tunnel:one/raw"]


def test_tls_ends_before_the_tunnel(site: Site) -> None:
    with connect_tls(site.port("tls"), "tls.test") as visitor:
        assert read_exactly(visitor, 3) == b"two"
        visitor.sendall(b"hello")
        assert read_exactly(visitor, 5) == b"hello"


def test_datagrams_are_balanced(site: Site) -> None:
    answers = Counter(ask_udp(site.port("datagrams"), b"who?") for _ in range(4))
    assert answers == {b"one": 2, b"two": 2}


def test_a_handler_chooses_the_tunnel(site: Site) -> None:
    assert site.who("chosen", "127.0.0.5") == "one"
    assert site.who("chosen", "127.0.0.6") == "two"
    assert ask_udp(site.port("chosen_datagrams"), b"who?") == b"two"


def test_a_handler_tries_another_tunnel(site: Site) -> None:
    assert site.who("again") == "two"


def test_a_variable_names_the_tunnel(site: Site) -> None:
    assert site.who("by_variable") == "two"
