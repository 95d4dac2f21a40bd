"""Handlers in a configuration: names, order, blocks, and where they are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.compiler_site import Site


def test_those_of_stream_come_before_those_of_the_server(site: Site) -> None:
    compiled = site.stream(
        "access_by_python a:one; access_by_python a:two; log_by_python a:note;"
        " server { listen 1; return x; access_by_python b.c:D.three; python_timeout 100ms; }"
        " server { listen 2; return x; preread_by_python a:look; }"
    )
    first, second = (server.handlers for server in compiled.objects.servers)
    assert first.access == ("a:one", "a:two", "b.c:D.three")
    assert (first.log, first.timeout_ms) == (("a:note",), 100)
    assert (second.access, second.preread) == (("a:one", "a:two"), ("a:look",))
    assert second.timeout_ms == 5000
    assert set(compiled.handlers.by_name) == {
        *("a:one", "a:two", "a:note", "b.c:D.three", "a:look"),
    }


def test_servers_without_any_have_none(site: Site) -> None:
    compiled = site.stream("server { listen 1; return x; }")
    assert not compiled.handlers
    assert compiled.objects.servers[0].handlers.access == ()


def test_a_certificate_can_be_left_to_handlers(site: Site) -> None:
    compiled = site.stream(
        "ssl_client_hello_by_python a:greet; ssl_certificate_by_python a:choose;"
        " proxy_ssl_verify_by_python a:judge; server { listen 1 ssl; return x; }"
    )
    server = compiled.objects.servers[0]
    assert server.tls is not None
    assert server.tls.certificates == ()
    handlers = server.handlers
    assert (handlers.client_hello, handlers.certificate) == (("a:greet",), ("a:choose",))
    assert handlers.verify == ("a:judge",)


def test_a_block_is_named_by_its_place(site: Site) -> None:
    compiled = site.stream(
        "init_by_python_block { N = 1 } python_path py;"
        " server { listen 1; return x;\n log_by_python_block { print({}) } }"
    )
    (name,) = compiled.objects.servers[0].handlers.log
    assert name.endswith("q.conf:2")
    source = compiled.handlers.by_name[name]
    assert (source.code, source.line, source.phase) == (" print({}) ", 2, "log")
    assert [init.code for init in compiled.handlers.init] == [" N = 1 "]
    assert compiled.handlers.path == [site.paths.conf.parent / "py"]


def test_an_upstream_with_a_handler_needs_no_server(site: Site) -> None:
    (upstream,) = site.stream("upstream u { balance_by_python a:pick; }").objects.upstreams
    assert (upstream.handler, upstream.peers) == ("a:pick", ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "server { listen 1; return x; access_by_python nonsense; }",
            '"access_by_python" wants MODULE:FUNCTION, not "nonsense" in q.conf:1',
        ),
        (
            "server { listen 1; return x; log_by_python a:1; }",
            '"log_by_python" wants MODULE:FUNCTION, not "a:1" in q.conf:1',
        ),
        (
            "server { listen 1; return x; log_by_python_block {\n  if\n} }",
            'invalid syntax in line 2 of "log_by_python_block" in q.conf:1',
        ),
        (
            "upstream u { balance_by_python a:b; balance_by_python_block { pass } }",
            '"balance_by_python" directive is duplicate in q.conf:1',
        ),
        (
            "server { listen 1; balance_by_python a:b; return x; }",
            '"balance_by_python" directive is not allowed here in q.conf:1',
        ),
    ],
)
def test_what_is_refused(site: Site, text: str, problem: str) -> None:
    assert site.problems(text) == [problem]


def test_they_serve_datagrams(site: Site) -> None:
    compiled = site.stream(
        "log_by_python a:note; upstream u { balance_by_python a:pick; }"
        " server { listen 1 udp; preread_by_python a:look; proxy_pass u; }"
    )
    handlers = compiled.objects.servers[0].handlers
    assert (handlers.preread, handlers.log) == (("a:look",), ("a:note",))


def test_a_request_cannot_bring_code(refusal: Callable[..., str]) -> None:
    message = '"preread_by_python_block" directive no support of dynamic!'
    assert message in refusal(body="preread_by_python_block { pass } return x;")
    assert "no support of dynamic" in refusal(body="access_by_python os:abort; return x;")
