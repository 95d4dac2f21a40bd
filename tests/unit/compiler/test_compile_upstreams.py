"""`upstream` and the targets of `proxy_pass`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qanat.compiler.plan import (
    Balance,
    Content,
    Hash,
    LeastConn,
    ProxyContent,
    ProxyToUpstream,
    ProxyToVariable,
    Random,
    RoundRobin,
)

if TYPE_CHECKING:
    from tests.harness.compiler_site import Site

    from qanat.compiler.rule_plan import ProxyToRules


def target(content: Content) -> ProxyToUpstream | ProxyToVariable | ProxyToRules:
    assert isinstance(content, ProxyContent)
    return content.proxy.target


def test_peers(site: Site) -> None:
    (upstream,) = site.stream(
        "upstream Db { zone db 64k; server db.test:5432 weight=3 max_conns=7 max_fails=2"
        " fail_timeout=1m;"
        " server [::1]:1 backup; server unix:/run/db down; }"
    ).objects.upstreams
    assert upstream.name == "Db"
    assert [(peer.server, peer.address) for peer in upstream.peers] == [
        ("db.test:5432", "192.0.2.1:5432"),
        ("db.test:5432", "192.0.2.2:5432"),
        ("[::1]:1", "[::1]:1"),
        ("unix:/run/db", "unix:/run/db"),
    ]
    first = upstream.peers[1]
    assert (first.weight, first.max_conns, first.max_fails, first.fail_timeout_ms) == (
        3,
        7,
        2,
        60000,
    )
    assert [peer.backup for peer in upstream.peers] == [False, False, True, False]
    assert [peer.down for peer in upstream.peers] == [False, False, False, True]


@pytest.mark.parametrize(
    ("text", "balance"),
    [
        ("", RoundRobin()),
        ("least_conn;", LeastConn()),
        ("random;", Random()),
        ("random two;", Random(two=True)),
        ("random two least_conn;", Random(two=True)),
        ("hash $remote_addr;", Hash(key=((True, "remote_addr"),))),
        ("hash a consistent;", Hash(key=((False, "a"),), consistent=True)),
    ],
)
def test_balancing(site: Site, text: str, balance: Balance) -> None:
    (upstream,) = site.stream(f"upstream u {{ {text} server localhost:1; }}").objects.upstreams
    assert upstream.balance == balance


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no servers are inside upstream"),
        ("server localhost;", 'no port in upstream "localhost"'),
        ("server nohost.test:1;", 'host not found in upstream "nohost.test:1"'),
        ("server localhost:0;", 'invalid port in upstream "localhost:0"'),
        ("server localhost:1 weight=0;", 'invalid parameter "weight=0"'),
        ("server localhost:1 fail_timeout=x;", 'invalid parameter "fail_timeout=x"'),
        ("server localhost:1 bogus;", 'invalid parameter "bogus"'),
        ("server localhost:1 backup=1;", 'invalid parameter "backup=1"'),
        (
            "server localhost:1 resolve;",
            'parameter "resolve" is not supported by this version of qanat',
        ),
        ("server localhost:1 backup;", 'no servers in upstream "u"'),
        ("random three; server localhost:1;", 'invalid parameter "three"'),
        ("random two x; server localhost:1;", 'invalid parameter "x"'),
        ("hash k ketama; server localhost:1;", 'invalid parameter "ketama"'),
        ("zone z 1; server localhost:1;", 'zone "z" is too small'),
        ("zone z x; server localhost:1;", 'invalid zone size "x"'),
        *(
            (
                f"server localhost:1; server localhost:2 backup; {method};",
                'balancing method does not support parameter "backup"',
            )
            for method in ("hash $remote_addr", "random")
        ),
    ],
)
def test_what_is_wrong_with_an_upstream(site: Site, text: str, message: str) -> None:
    assert site.problems(f"upstream u {{ {text} }}") == [f"{message} in q.conf:1"]


def test_an_upstream_that_is_wrong_is_the_only_problem(site: Site) -> None:
    text = "upstream u { } server { listen 1; proxy_pass u; }"
    assert site.problems(text) == ["no servers are inside upstream in q.conf:1"]


def test_an_upstream_twice(site: Site) -> None:
    assert site.problems(
        "upstream u { server localhost:1; }\n upstream U { server localhost:1; }"
    ) == ['duplicate upstream "U" in q.conf:2']


def test_two_balancing_methods(site: Site) -> None:
    assert site.warnings("upstream u { least_conn; random; server localhost:1; }") == [
        "load balancing method redefined in q.conf:1"
    ]


def test_proxy_pass_to_an_upstream_declared_below(site: Site) -> None:
    compiled = site.stream(
        "server { listen 1; proxy_pass DB; } upstream db { server localhost:1; }"
    )
    assert target(compiled.objects.servers[0].content) == ProxyToUpstream(name="db")
    assert compiled.upstream_names == {"db": "db"}


@pytest.mark.parametrize(
    ("address", "peers"),
    [
        ("db.test:5432", ["192.0.2.1:5432", "192.0.2.2:5432"]),
        ("[::1]:80", ["[::1]:80"]),
        ("unix:/run/a.sock", ["unix:/run/a.sock"]),
    ],
)
def test_proxy_pass_to_an_address(site: Site, address: str, peers: list[str]) -> None:
    compiled = site.stream(
        f"server {{ listen 1; proxy_pass {address}; }} server {{ listen 2; proxy_pass {address}; }}"
    )
    (upstream,) = compiled.objects.upstreams
    assert target(compiled.objects.servers[0].content) == ProxyToUpstream(name=address)
    assert upstream.name == address
    assert [peer.address for peer in upstream.peers] == peers
    assert compiled.upstream_names == {}


def test_proxy_pass_with_variables(site: Site) -> None:
    (server,) = site.stream(
        "server { listen 1; proxy_pass $ssl_preread_server_name:443; }"
    ).objects.servers
    assert target(server.content) == ProxyToVariable(
        value=((True, "ssl_preread_server_name"), (False, ":443"))
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", 'no port in upstream "nothing"'),
        ("nohost.test:1", 'host not found in upstream "nohost.test"'),
        ("http://a", 'invalid port in upstream "http://a"'),
        ("u:80", 'upstream "u" may not have port 80'),
        ("*:80", 'no host in upstream "*:80"'),
    ],
)
def test_what_is_wrong_with_a_target(site: Site, text: str, message: str) -> None:
    text = f"upstream u {{ server localhost:1; }} server {{ listen 1; proxy_pass {text}; }}"
    assert site.problems(text) == [f"{message} in q.conf:1"]
