"""`listen`: addresses, options, shared addresses, and the wildcard that swallows others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qanat.compiler.socket_plan import Keepalive

if TYPE_CHECKING:
    from tests.harness.compiler_site import Site

    from qanat.compiler.plan import Listener


def listeners(site: Site, text: str) -> dict[str, Listener]:
    return {one.id: one for one in site.stream(text).objects.listeners}


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("80", ["tcp:0.0.0.0:80"]),
        ("*:80", ["tcp:0.0.0.0:80"]),
        ("127.0.0.1:80", ["tcp:127.0.0.1:80"]),
        ("[::]:80", ["tcp:[::]:80"]),
        ("[0:0::1]:80 udp", ["udp:[::1]:80"]),
        ("localhost:80", ["tcp:127.0.0.1:80"]),
        ("db.test:80", ["tcp:192.0.2.1:80", "tcp:192.0.2.2:80"]),
        ("six.test:80", ["tcp:[2001:db8::1]:80"]),
        ("8000-8002", ["tcp:0.0.0.0:8000", "tcp:0.0.0.0:8001", "tcp:0.0.0.0:8002"]),
        ("[::1]:53-54 udp", ["udp:[::1]:53", "udp:[::1]:54"]),
        ("unix:/run/q.sock", ["tcp:unix:/run/q.sock"]),
    ],
)
def test_addresses(site: Site, text: str, ids: list[str]) -> None:
    assert list(listeners(site, f"server {{ listen {text}; return x; }}")) == ids


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", 'invalid port in "0" of the "listen" directive'),
        ("65536", 'invalid port in "65536" of the "listen" directive'),
        ("127.0.0.1", 'no port in "127.0.0.1" of the "listen" directive'),
        ("127.0.0.1:", 'invalid port in "127.0.0.1:" of the "listen" directive'),
        ("127.0.0.1:x", 'invalid port in "127.0.0.1:x" of the "listen" directive'),
        ("20-10", 'invalid port in "20-10" of the "listen" directive'),
        ("999.1.1.1:80", 'host not found in "999.1.1.1:80" of the "listen" directive'),
        ("nohost.test:80", 'host not found in "nohost.test:80" of the "listen" directive'),
        # Digits of another script: the system's resolver would not know them.
        ("１２７.0.0.1:80", 'host not found in "１２７.0.0.1:80" of the "listen" directive'),
        ("８０", 'invalid port in "８０" of the "listen" directive'),
        ("[::g]:80", 'invalid IPv6 address in "[::g]:80" of the "listen" directive'),
        ("[::1]", 'no port in "[::1]" of the "listen" directive'),
        ("[::1", 'invalid host in "[::1" of the "listen" directive'),
        (":80", 'no host in ":80" of the "listen" directive'),
        ("a/b:80", 'invalid host in "a/b:80" of the "listen" directive'),
        ("unix:", 'no path in the unix domain socket in "unix:" of the "listen" directive'),
        ("80 bogus", 'invalid parameter "bogus"'),
        ("80 backlog=0", 'invalid backlog "backlog=0"'),
        ("80 rcvbuf=x", 'invalid rcvbuf "rcvbuf=x"'),
        ("80 sndbuf=0", 'invalid sndbuf "sndbuf=0"'),
        ("80 fastopen=-1", 'invalid fastopen "fastopen=-1"'),
        ("[::]:80 ipv6only=yes", 'invalid ipv6only flags "yes"'),
        ("80 ipv6only=on", 'ipv6only is not supported on addr "80"'),
        ("80 so_keepalive=::", 'invalid so_keepalive value: "::"'),
        ("80 so_keepalive=1:2:3:4", 'invalid so_keepalive value: "1:2:3:4"'),
        ("80 so_keepalive=a::", 'invalid so_keepalive value: "a::"'),
        *(
            (f"80 udp {option}", f'"{option.split("=")[0]}" parameter is incompatible with "udp"')
            for option in ("ssl", "proxy_protocol", "backlog=1", "fastopen=1", "deferred")
        ),
        ("80 so_keepalive=on udp", '"so_keepalive" parameter is incompatible with "udp"'),
    ],
)
def test_what_is_wrong_with_a_listen(site: Site, text: str, message: str) -> None:
    assert site.problems(f"server {{ listen {text}; return x; }}") == [f"{message} in q.conf:1"]


def test_too_long_unix_path(site: Site) -> None:
    path = "/" + "a" * 107
    (problem,) = site.problems(f"server {{ listen unix:{path}; }}")
    assert problem.startswith("too long path in the unix domain socket")


def test_options(site: Site) -> None:
    (listener,) = site.stream(
        "server { listen [::]:80 ssl mesh proxy_protocol backlog=5 rcvbuf=8k sndbuf=16k fastopen=3 "
        "ipv6only=off reuseport deferred so_keepalive=30m::10; ssl_reject_handshake on; }"
    ).objects.listeners
    assert (listener.tls, listener.mesh, listener.proxy_protocol) == (True, True, True)
    socket = listener.socket
    assert (socket.backlog, socket.rcvbuf, socket.sndbuf) == (5, 8192, 16384)
    assert (socket.fastopen, socket.ipv6only, socket.reuseport, socket.deferred) == (
        *(3, False, True),
        True,
    )
    assert socket.keepalive == Keepalive(on=True, idle_s=1800, count=10)


@pytest.mark.parametrize(("value", "on"), [("on", True), ("off", False)])
def test_so_keepalive_as_a_flag(site: Site, value: str, on: bool) -> None:
    found = listeners(site, f"server {{ listen 1 so_keepalive={value}; }}")
    assert found["tcp:0.0.0.0:1"].socket.keepalive == Keepalive(on=on)


def test_options_of_other_platforms_are_ignored(site: Site) -> None:
    assert site.warnings("server { listen 1 setfib=1 multipath accept_filter=x; }") == [
        "setfib is not supported on this platform, ignored in q.conf:1",
        "multipath is not supported on this platform, ignored in q.conf:1",
        'accept filters "x" are not supported on this platform, ignored in q.conf:1',
    ]


def test_a_server_needs_a_listen(site: Site) -> None:
    assert site.problems("server { return x; }") == [
        'no "listen" is defined for server in q.conf:1'
    ]


def test_servers_share_an_address(site: Site) -> None:
    compiled = site.stream(
        "server { listen 80; listen 81; server_name a; return 1; }"
        "server { listen 80 default_server backlog=9; server_name b; return 2; }"
    )
    first, second = compiled.objects.listeners
    assert first.default_server == "tcp:0.0.0.0:80/b"
    assert first.socket.backlog == 9
    assert second.default_server == "tcp:0.0.0.0:80/a"
    assert compiled.objects.servers[0].listeners == ("tcp:0.0.0.0:80", "tcp:0.0.0.0:81")


def test_problems_of_shared_addresses(site: Site) -> None:
    assert site.problems(
        "server { listen 80 backlog=1 default_server; server_name a;\n listen *:80; }\n"
        "server { listen 80 bind default_server; server_name b; }"
    ) == [
        "a duplicate listen 0.0.0.0:80 in q.conf:2",
        "duplicate listen options for 0.0.0.0:80 in q.conf:3",
        "a duplicate default server for 0.0.0.0:80 in q.conf:3",
    ]


def test_different_protocols_on_one_address(site: Site) -> None:
    text = (
        "ssl_reject_handshake on; server {{ listen 80 {}; server_name a; }}"
        "server {{ listen 80 {}; server_name b; }}"
    )
    assert site.warnings(text.format("ssl", "proxy_protocol")) == [
        "protocol options redefined for 0.0.0.0:80 in q.conf:1"
    ]
    assert site.warnings(text.format("ssl", "")) == []
    (listener,) = site.stream(text.format("", "ssl mesh")).objects.listeners
    assert listener.tls
    assert listener.mesh


def test_a_wildcard_swallows_the_addresses_of_its_port(site: Site) -> None:
    found = listeners(
        site,
        "server { listen 127.0.0.1:80; listen 127.0.0.2:80 bind; listen [::1]:80;"
        " listen 127.0.0.1:81; listen 127.0.0.1:80 udp; listen unix:/run/80; }"
        "server { listen 80; listen 127.0.0.3:80 reuseport; }",
    )
    parents = {name: listener.parent for name, listener in found.items() if listener.parent}
    assert parents == {"tcp:127.0.0.1:80": "tcp:0.0.0.0:80"}


def test_udp_mesh_has_a_socket_of_its_own(site: Site) -> None:
    found = listeners(site, "server { listen 80 udp; listen 127.0.0.1:80 udp mesh; }")
    assert found["udp:127.0.0.1:80"].parent is None


def test_tcp_and_udp_are_independent(site: Site) -> None:
    found = listeners(site, "server { listen 80; listen 80 udp; return x; }")
    assert [one.protocol for one in found.values()] == ["tcp", "udp"]
