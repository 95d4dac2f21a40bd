"""Servers of tunnelled services: what they take from `stream`, and what `tunnels` says instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qanat.compiler import plan
from qanat.config.errors import ConfigError

if TYPE_CHECKING:
    from tests.harness.compiler_site import Site

STREAM = """
    log_format line $status;
    access_log logs/a.log line;
    error_log logs/e.log info;
    allow 192.0.2.0/24; deny all;
    access_by_python a:arrive; log_by_python a:note; proxy_ssl_verify_by_python a:judge;
    python_timeout 100ms;
    proxy_timeout 7s; proxy_connect_timeout 1s;
    proxy_protocol on; proxy_ssl on; proxy_bind 127.0.0.2;
    tcp_nodelay off; proxy_socket_keepalive on; ssl_preread on; preread_timeout 3s;
"""
SERVICES = """
    service web remote 192.0.2.9:80 connect_timeout=2s; service web local 127.0.0.1:8080;
    service dns remote 192.0.2.9:53 udp;
"""


def servers(site: Site, stream: str, tunnels: str = "") -> dict[str, plan.Server]:
    """Compile both blocks; give the servers of the services by their ids."""
    secret = "secret " + "ab" * 32
    text = f"events {{}} stream {{ {stream} }} tunnels {{ {secret}; {SERVICES} {tunnels} }}"
    found = site.compile(text).objects.servers
    return {server.id: server for server in found}


def proxy(server: plan.Server) -> plan.Proxy:
    assert isinstance(server.content, plan.ProxyContent)
    return server.content.proxy


def test_services_take_what_stream_says(site: Site) -> None:
    found = servers(site, STREAM)
    assert set(found) == {"tunnel:web", "service:web", "tunnel:dns"}
    for server in found.values():
        assert [log.format for log in server.access_log] == ["line"]
        assert [log.level for log in server.error_log or ()] == ["info"]
        assert [rule.allow for rule in server.access] == [True, False]
        assert (server.handlers.access, server.handlers.log) == (("a:arrive",), ("a:note",))
        assert (server.handlers.timeout_ms, server.preread.timeout_ms) == (100, 3000)
        assert (server.tcp_nodelay, proxy(server).socket_keepalive) == (False, True)
        assert proxy(server).timeout_ms == 7000


def test_how_peers_are_spoken_to_is_not_taken(site: Site) -> None:
    for server in servers(site, STREAM).values():
        assert (proxy(server).tls, proxy(server).bind) == (None, None)
        assert (proxy(server).protocol, server.handlers.verify) == ("off", ())
        assert server.preread.tls is False
    assert proxy(servers(site, STREAM)["tunnel:web"]).connect_timeout_ms == 2000


def test_without_any_settings_a_flow_is_shorter_than_a_stream(site: Site) -> None:
    found = servers(site, "")
    assert found["tunnel:web"].access_log == ()
    assert found["tunnel:web"].error_log is None
    assert proxy(found["tunnel:web"]).timeout_ms == 600_000
    assert proxy(found["tunnel:dns"]).timeout_ms == 60_000


def test_tunnels_say_it_otherwise_and_add_handlers(site: Site) -> None:
    own = "access_log off; allow all; proxy_timeout 1h; access_by_python b:arrive;"
    for server in servers(site, STREAM, own).values():
        assert server.access_log == ()
        assert [rule.allow for rule in server.access] == [True]
        assert proxy(server).timeout_ms == 3_600_000
        assert server.handlers.access == ("a:arrive", "b:arrive")
        assert server.handlers.log == ("a:note",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("access_log logs/a.log nowhere;", 'unknown log format "nowhere"'),
        ("proxy_timeout soon;", '"proxy_timeout" directive invalid value'),
        ("proxy_ssl on;", '"proxy_ssl" directive is not allowed here'),
        ("proxy_timeout 1s; proxy_timeout 2s;", '"proxy_timeout" directive is duplicate'),
    ],
)
def test_what_is_wrong_is_refused_where_it_stands(site: Site, text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        servers(site, "", f"\n{text}")
    assert [str(problem) for problem in caught.value.problems if reason in str(problem)], text
    assert caught.value.problems[0].line > 1
