"""`frame`: what it compiles to, the variables that it gives, and every way to get it wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from qanat.compiler import frame_plan, plan
from qanat.compiler.frame_format import delimiter_bytes, header_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.compiler_site import Site

    from qanat.compiler.virtual_server import VirtualServer

LOGIN = 'header ">ccHH" type version wait length; length length; body json;'


def frame_of(site: Site, text: str, around: str = "") -> frame_plan.Frame:
    """Compile a server with a frame."""
    compiled = site.stream(f"{around} server {{ listen 1; return x; frame {{ {text} }} }}")
    frame = compiled.objects.servers[0].preread.frame
    assert frame is not None
    return frame


def test_a_header_is_laid_out_as_struct_does_it(site: Site) -> None:
    frame = frame_of(site, LOGIN)
    assert [(field.name, field.offset, field.width) for field in frame.fields] == [
        ("type", 0, 1),
        ("version", 1, 1),
        ("wait", 2, 2),
        ("length", 4, 2),
    ]
    assert [field.kind for field in frame.fields] == ["bytes", "bytes", "unsigned", "unsigned"]
    assert (frame.header, frame.end, frame.body) == (6, frame_plan.EndByField(index=3), "json")


def test_values_without_a_name_take_their_place(site: Site) -> None:
    frame = frame_of(site, 'header "<2x 4s2hQ?" Tenant _ low id up;')
    assert [structs.astuple(field) for field in frame.fields] == [
        ("tenant", 2, 4, "text", False),
        ("low", 8, 2, "signed", True),
        ("id", 10, 8, "unsigned", True),
        ("up", 18, 1, "bool", True),
    ]
    assert (frame.header, frame.end) == (19, frame_plan.EndByHeader())


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ('header ">H" Length; length length adjust=-2;', frame_plan.EndByField(index=0, adjust=-2)),
        ('length varint; header ">B" type;', frame_plan.EndByVarint()),
        ("length varint adjust=4;", frame_plan.EndByVarint(adjust=4)),
        (r'delimiter "\r\n";', frame_plan.EndByDelimiter(bytes=b"\r\n")),
        (r'delimiter "\x00\xffé";', frame_plan.EndByDelimiter(bytes=b"\0\xff\xc3\xa9")),
    ],
)
def test_a_frame_ends_by_a_field_a_varint_or_a_delimiter(
    site: Site, text: str, end: frame_plan.FrameEnd
) -> None:
    assert frame_of(site, text).end == end


def test_a_delimiter_may_have_any_bytes() -> None:
    assert delimiter_bytes(r"\x00\x7C|\x") == b"\0|||"[:2] + b"|\\x"


def test_limits_are_those_of_preread_unless_said_otherwise(site: Site) -> None:
    frame = frame_of(site, LOGIN)
    assert (frame.max, frame.timeout_ms) == (16384, 30_000)
    frame = frame_of(site, LOGIN, "preread_buffer_size 1k; preread_timeout 2s;")
    assert (frame.max, frame.timeout_ms) == (1024, 2000)
    frame = frame_of(site, f"{LOGIN} max 64k; timeout 500ms;")
    assert (frame.max, frame.timeout_ms) == (65536, 500)


def test_that_of_a_server_replaces_that_of_stream(site: Site) -> None:
    compiled = site.stream(
        f"frame {{ {LOGIN} }} server {{ listen 1; return $frame_type; }}"
        ' server { listen 2; return $frame_body; frame { delimiter ";"; } }'
    )
    first, second = (server.preread.frame for server in compiled.objects.servers)
    assert first is not None
    assert first.body == "json"
    assert second is not None
    assert second.end == frame_plan.EndByDelimiter(bytes=b";")


def test_its_variables_can_be_used_everywhere(site: Site) -> None:
    compiled = site.stream(
        "upstream u { server 127.0.0.1:1; hash $frame_json_devid consistent; }"
        " map $frame_type $kind { default $frame_json_a_b; } log_format f $frame_bytes$frame_body;"
        f" server {{ listen 1; frame {{ {LOGIN} }} set $a $FRAME_Length; proxy_pass u; }}"
    )
    (upstream,) = compiled.objects.upstreams
    assert upstream.balance == plan.Hash(key=((True, "frame_json_devid"),), consistent=True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("frame_kind", 'no "frame" has a field "kind"'),
        ("frame_json_", "the path of a value has to follow"),
        ("frame_msgpack_devid", 'no "frame" has "body msgpack"'),
    ],
)
def test_other_variables_of_that_kind_are_refused(site: Site, name: str, reason: str) -> None:
    text = f"server {{ listen 1;\n return ${name};\n frame {{ {LOGIN} }} }}"
    (problem,) = site.problems(text)
    assert problem == f'unknown "{name}" variable: {reason} in q.conf:2'


def test_a_server_of_the_api_has_that_of_stream_or_its_own(
    site: Site, add: Callable[..., VirtualServer], refusal: Callable[..., str]
) -> None:
    scope = site.scope(f"frame {{ {LOGIN} }} server {{ listen 22222; return x; }}")
    inherited = add(body='return "$frame_json_devid";', scope=scope).server.preread.frame
    assert inherited is not None
    assert inherited.body == "json"
    own = add(body='frame { delimiter ";"; } return "$frame_body";').server.preread.frame
    assert own is not None
    assert own.max == 16384
    text = refusal(body='frame { delimiter ";"; } return "$frame_type";', scope=scope)
    assert 'no defined variable name "$frame_type": no "frame" has a field "type"' in text


def test_none_can_be_defined(site: Site) -> None:
    (problem,) = site.problems("map $status $frame_x { }")
    assert problem == 'the duplicate "frame_x" variable in q.conf:1'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            'header "ccHH" a b c d;',
            '"ccHH" has to begin with its byte order: ">" or "!" (network), "<" or "="; native '
            "alignment differs from machine to machine",
        ),
        (
            'header ">ccd" a b c;',
            '"d" in ">ccd" is not known here; there are x s ? B H I L Q b c h i l q',
        ),
        ('header ">HH" a;', '">HH" has 2 values, but 1 name is given; "_" skips a value'),
        ('header ">H" a b;', '">H" has 1 value, but 2 names are given; "_" skips a value'),
        ('header ">H2" a;', 'the number 2 in ">H2" has no code after it'),
        ('header ">99999s" a;', '">99999s" is longer than 65535 bytes'),
        ('header ">HH" a A;', 'two fields are called "a"'),
        ('header ">H" a-b;', '"a-b" cannot name a field: letters, digits and "_" can'),
        (
            'header ">H" body;',
            'a field cannot be called "body", which means something else already',
        ),
        (
            'header ">H" json_a;',
            'a field cannot be called "json_a", which means something else already',
        ),
        (
            'header ">H" a; length b;',
            '"b" is not "varint" and no field of the header: there are a',
        ),
        ('header ">c" a; length a;', 'field "a" is not a number, so it cannot be the length'),
        ('header ">H" a; length a add=1;', '"length" takes adjust=NUMBER, not "add=1"'),
        ('header ">H" a; length a adjust=x;', '"adjust" wants a whole number, not "x"'),
        ('header ">H" a; length a adjust=99999999999;', '"adjust" is out of range: "99999999999"'),
        ('delimiter "";', "a delimiter has at least one byte"),
        ('length varint; delimiter ";";', '"length" says already where a frame ends'),
        ("length varint; body xml;", 'a body is json, msgpack or raw, not "xml"'),
        ("length varint; max 0;", '"max" directive invalid value'),
        ("length varint; timeout soon;", '"timeout" directive invalid value'),
        ("length varint; max 1k; max 2k;", '"max" directive is duplicate'),
        ("hdr 1;", 'unknown directive "hdr"'),
        ('header ">4Q" a b c d; max 10;', "the 32 bytes of the header are more than max 10"),
        ("", 'a frame needs a "header", a "length" or a "delimiter"'),
        (
            'header ">H" a; body json;',
            'where "body json" ends, a "length" or a "delimiter" must say',
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(site: Site, text: str, problem: str) -> None:
    (found,) = site.problems(f"\n\nserver {{ listen 1; return x; frame {{ {text} }} }}")
    assert found.startswith(f"{problem} in q.conf:3")


def test_all_mistakes_are_named_at_once(site: Site) -> None:
    found = site.problems(
        "server { listen 1; return $frame_a; frame {\nheader H a;\nbody xml;\nmax 0;\n} }"
    )
    assert [problem.rpartition(":")[2] for problem in found] == ["1", "2", "3", "4"]


def test_a_header_is_as_long_as_struct_says() -> None:
    _, size = header_fields(">3x10sHBq", ("a", "b", "c", "d"))
    assert size == 24
