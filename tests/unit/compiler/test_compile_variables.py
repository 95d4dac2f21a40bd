"""Variables: templates, the check that they exist, `map` and `set`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.compiler.compilation import Refused
from qanat.compiler.plan import Map, Template
from qanat.compiler.variables import hostname_kinds, parse_template

if TYPE_CHECKING:
    from tests.harness.compiler_site import Site


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("plain", ((False, "plain"),)),
        ("$Remote_Addr", ((True, "remote_addr"),)),
        ("a${protocol}b", ((False, "a"), (True, "protocol"), (False, "b"))),
        ("$1x$2", ((True, "1"), (False, "x"), (True, "2"))),
        ("$a$b", ((True, "a"), (True, "b"))),
        ("$a.b", ((True, "a"), (False, ".b"))),
        ("$12", ((True, "1"), (False, "2"))),
    ],
)
def test_templates(text: str, parts: Template) -> None:
    assert parse_template(text) == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$", "invalid variable name"),
        ("a$-b", "invalid variable name"),
        ("${}", "invalid variable name"),
        ("${abc", 'the closing bracket in "abc" variable is missing'),
        ("${a-b}", 'the closing bracket in "a" variable is missing'),
    ],
)
def test_malformed_templates(text: str, message: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_template(text)
    assert caught.value.message == message


_NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
_PARTS = st.lists(
    st.tuples(st.just(False), st.text("abc.-: ", min_size=1)) | st.tuples(st.just(True), _NAMES),
    max_size=6,
)


@given(_PARTS)
def test_a_written_template_is_read_back(parts: list[tuple[bool, str]]) -> None:
    text = "".join(f"${{{part}}}" if is_variable else part for is_variable, part in parts)
    joined: list[tuple[bool, str]] = []
    for is_variable, part in parts:
        if joined and not is_variable and not joined[-1][0]:
            joined[-1] = (False, joined[-1][1] + part)
        else:
            joined.append((is_variable, part))
    assert parse_template(text) == tuple(joined)


@given(st.text(max_size=20))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    try:
        parts = parse_template(text)
    except Refused:
        return
    assert all(part for _, part in parts)


def test_every_use_of_an_unknown_variable_is_an_error(site: Site) -> None:
    assert site.problems(
        "server { listen 1; return $nope; }\n server { listen 2; return ${remote_addr}$other; }"
    ) == [
        'unknown "nope" variable in q.conf:1',
        'unknown "other" variable in q.conf:2',
    ]


def test_variables_may_be_defined_below_their_use(site: Site) -> None:
    compiled = site.stream(
        "server { listen 1; return $a$b$c$site$proxy_protocol_tlv_alpn; set $b x; }"
        "map $remote_addr $a { ~^10[.](?<c>.) $c; }"
        "server { listen 2; server_name ~^(?P<site>.+)[.]test$; return x; }"
    )
    assert [variable.name for variable in compiled.objects.variables] == ["a"]


def test_map(site: Site) -> None:
    compiled = site.stream(
        "map $ssl_server_name $Group { hostnames; volatile; default none; .Example.com one;"
        "  *.org two; www.* three; exact four; ~*^x(.*)$ five-$1; '~a b' six; \\default seven; }"
    )
    (variable,) = compiled.objects.variables
    table = variable.kind
    assert isinstance(table, Map)
    assert variable.name == "group"
    assert variable.volatile
    assert table.default == ((False, "none"),)
    assert {entry.key for entry in table.exact} == {"example.com", "exact", "default"}
    assert {entry.key for entry in table.leading} == {"example.com", "org"}
    assert [entry.key for entry in table.trailing] == ["www"]
    assert [(one.pattern, one.ignore_case) for one in table.patterns] == [
        ("^x(.*)$", True),
        ("a b", False),
    ]
    assert table.patterns[0].value == ((False, "five-"), (True, "1"))


def test_problems_of_maps(site: Site) -> None:
    assert site.problems(
        "map x $a { k v;\n K w;\n default 1;\n default 2;\n lonely;\n a b c; }\n"
        "map x b { }\n map x $status { }\n map x $c { hostnames;\n *bad v;\n a*b v; }"
    ) == [
        'conflicting parameter "k" in q.conf:2',
        "duplicate default map parameter in q.conf:4",
        "invalid number of the map parameters in q.conf:5",
        "invalid number of the map parameters in q.conf:6",
        'invalid variable name "b" in q.conf:7',
        'the duplicate "status" variable in q.conf:8',
        'invalid hostname or wildcard "*bad" in q.conf:10',
        'invalid hostname or wildcard "a*b" in q.conf:11',
    ]


def test_set(site: Site) -> None:
    compiled = site.stream("server { listen 1; set $X a$protocol; set $mesh_server_name s; }")
    first, second = compiled.objects.servers[0].set
    assert (first.name, first.value) == ("x", ((False, "a"), (True, "protocol")))
    assert second.name == "mesh_server_name"
    assert site.problems("server { listen 1; set x 1; set $pid 1; }") == [
        'invalid variable name "x" in q.conf:1',
        'the duplicate "pid" variable in q.conf:1',
    ]


@pytest.mark.parametrize("name", ["*", "*.", "a.*.b", "*.a*", "..", "a..b", "*..a", "."])
def test_no_host_name_patterns(name: str) -> None:
    assert hostname_kinds(name) is None
