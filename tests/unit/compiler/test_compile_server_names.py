"""`server_name`: kinds of names, ids of servers, and names that clash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.harness.compiler_site import Site


def test_kinds_of_names(site: Site) -> None:
    (server,) = site.stream(
        "server { listen 80; server_name WWW.Example.com .a.test *.b.test c.*;"
        " server_name ~^D$ ''; }"
    ).objects.servers
    assert server.name == "WWW.Example.com"
    assert [(name.kind, name.text) for name in server.names] == [
        ("exact", "www.example.com"),
        ("exact", "a.test"),
        ("leading", "a.test"),
        ("leading", "b.test"),
        ("trailing", "c"),
        ("regex", "^D$"),
    ]


def test_the_name_of_the_host(site: Site) -> None:
    compiled = site.stream("server { listen 80; server_name $hostname; }")
    (server,) = compiled.objects.servers
    assert server.name == compiled.settings.hostname


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("*bad", 'server name "*bad" is invalid'),
        ("*.", 'server name "*." is invalid'),
        (".", 'server name "." is invalid'),
        ("~", 'empty regex in server name "~"'),
        ("a.*.b", 'invalid server name or wildcard "a.*.b"'),
        ("a..b", 'invalid server name or wildcard "a..b"'),
        ("x" * 256, f'invalid server name or wildcard "{"x" * 256}"'),
    ],
)
def test_what_is_wrong_with_a_name(site: Site, name: str, message: str) -> None:
    assert site.problems(f"server {{ listen 80; server_name {name}; }}") == [
        f"{message} in q.conf:1"
    ]


def test_suspicious_names(site: Site) -> None:
    assert site.warnings("server { listen 80; server_name a/b; }") == [
        'server name "a/b" has suspicious symbols in q.conf:1'
    ]


def test_names_clash_on_one_address_only(site: Site) -> None:
    assert site.warnings(
        "server { listen 80; listen 81; server_name a *.b; }\n"
        "server { listen 80; server_name A *.b c; }\n"
        "server { listen 82; server_name a; }"
    ) == [
        'conflicting server name "a" on 0.0.0.0:80, ignored in q.conf:2',
        'conflicting server name "*.b" on 0.0.0.0:80, ignored in q.conf:2',
    ]


def test_two_servers_without_a_name_clash(site: Site) -> None:
    assert site.warnings("server { listen 80; }\n server { listen 80; }") == [
        'conflicting server name "" on 0.0.0.0:80, ignored in q.conf:2'
    ]


def test_ids_of_servers(site: Site) -> None:
    compiled = site.stream(
        "server { listen 80; listen 81; server_name A b; } server { listen 80; }"
        "server { listen 80 udp; server_name a; } server { listen 80; }"
    )
    assert [server.id for server in compiled.objects.servers] == [
        "tcp:0.0.0.0:80/a",
        "tcp:0.0.0.0:80/",
        "udp:0.0.0.0:80/a",
        "tcp:0.0.0.0:80/#2",
    ]
    assert compiled.objects.listeners[0].default_server == "tcp:0.0.0.0:80/a"
