"""`rules` blocks: what they compile to, and what is refused at which line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.compiler.compilation import Refused
from qanat.compiler.plan import ProxyContent
from qanat.compiler.rule_plan import PassTo, PortRange, ProxyToRules, Reject
from qanat.compiler.rules import first_bytes
from qanat.compiler.rules_block import spec_of_words

if TYPE_CHECKING:
    from tests.harness.compiler_site import Site

SERVER = "server { listen 1; proxy_pass rules:edge; }"


def test_a_table_with_every_condition(site: Site) -> None:
    compiled = site.stream(
        "rules edge { rule one source=10.0.0.0/8,::1 port=443,8000-8100 sni=.x.test,~^a,b$"
        " alpn=h2,mqtt starts_with=\\x00\\r,SSH- tls=on priority=7 pass=web;"
        " rule two reject; default pass=127.0.0.1:5; }"
        " upstream web { server 127.0.0.1:1; }" + SERVER
    )
    one, two = compiled.objects.rules
    assert (one.id, one.priority, one.position) == ("edge/one", 7, 0)
    assert one.source == ("10.0.0.0/8", "::1/128")
    assert one.port == (PortRange(first=443, last=443), PortRange(first=8000, last=8100))
    assert [(name.kind, name.text) for name in one.sni] == [
        *(("exact", "x.test"), ("leading", "x.test"), ("regex", "^a,b$")),
    ]
    assert (one.alpn, one.starts_with) == (("h2", "mqtt"), (b"\x00\r", b"SSH-"))
    assert (one.tls, one.action) == (True, PassTo(upstream="web"))
    assert (two.priority, two.position, two.action) == (100, 1, Reject(status=403))
    (table,) = compiled.objects.rule_tables
    assert table.default == PassTo(upstream="127.0.0.1:5")
    assert "127.0.0.1:5" in {upstream.name for upstream in compiled.objects.upstreams}
    (server,) = compiled.objects.servers
    assert isinstance(server.content, ProxyContent)
    assert server.content.proxy.target == ProxyToRules(table="edge")


def test_a_table_without_rules_rejects(site: Site) -> None:
    (table,) = site.stream("rules edge { }" + SERVER).objects.rule_tables
    assert table.default == Reject(status=403)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("rule a pass=web;", 'no upstream "web", and an address needs a port in rule "a"'),
        ("rule a source=1.1.1;", 'invalid network "1.1.1"'),
        ("rule a port=1;", 'one of "pass" and "reject" is needed in rule "a"'),
        ("rule a reject pass=1.1.1.1:1;", 'one of "pass" and "reject" is needed'),
        ("rule a reject=99;", 'invalid status "99", 400 to 599 in rule "a"'),
        ("rule a reject=x;", 'invalid value "x" of "reject", it must be a number'),
        ("rule a sni=a..b reject;", 'invalid server name "a..b"'),
        ("rule a starts_with=\\q reject;", 'invalid escape "\\q"'),
        ('rule a starts_with="GET x" reject;', "quotes around the whole word"),
        ("rule a tls=maybe reject;", 'invalid value "maybe" of "tls"'),
        ("rule a colour=red reject;", 'invalid parameter "colour=red", there are priority='),
        ("rule a priority=70000 reject;", 'invalid priority "70000", 0 to 65535'),
        ("rule a tls=on tls=off reject;", 'parameter "tls" is duplicate'),
        ("rule default reject;", 'a rule cannot be called "default"'),
        ("rule a/b reject;", 'invalid name "a/b" of a rule'),
        ("rule a reject; rule a reject;", 'duplicate rule "a"'),
        ("default reject source=::1;", 'invalid number of arguments in "default" directive'),
        ("default source=::1;", '"source" is not possible here, only pass or reject'),
        ("default;", 'invalid number of arguments in "default" directive'),
    ],
)
def test_what_is_refused(site: Site, rules: str, message: str) -> None:
    problems = site.problems(f"rules edge {{\n{rules}\n}} {SERVER}")
    assert any(message in problem for problem in problems), problems
    assert all(":" in problem for problem in problems)


def test_tables_that_clash_or_are_missing(site: Site) -> None:
    problems = site.problems(
        "rules a { } rules a { } rules 1x { } server { listen 1; proxy_pass rules:none; }"
    )
    assert len(problems) == 3
    assert 'duplicate rules "a"' in problems[0]
    assert 'invalid name "1x" of rules' in problems[1]
    assert 'no rules "none" are defined' in problems[2]


def test_a_host_may_be_called_rules(site: Site) -> None:
    problems = site.problems("server { listen 1; proxy_pass rules:8080; }")
    assert "host not found" in problems[0]


def test_all_problems_of_a_rule_at_once(site: Site) -> None:
    problems = site.problems(f"rules edge {{ rule a source=x port=0 pass=nobody; }} {SERVER}")
    assert len(problems) == 3


def test_low_bits_are_worth_a_warning(site: Site) -> None:
    (warning,) = site.warnings(f"rules edge {{ rule a source=10.1.1.1/8 reject; }} {SERVER}")
    assert "low address bits of 10.1.1.1/8 are meaningless" in warning


@given(st.binary(min_size=1, max_size=255))
def test_any_bytes_can_be_written(data: bytes) -> None:
    assert first_bytes("".join(f"\\x{byte:02x}" for byte in data)) == data


def test_words_of_a_command_line_are_read_as_those_of_a_file() -> None:
    spec = spec_of_words(["source=::1,unix:", "reject", "priority=3"])
    assert (spec.source, spec.reject, spec.priority) == (("::1", "unix:"), 403, 3)
    with pytest.raises(Refused, match="invalid parameter"):
        spec_of_words(["nonsense"])
