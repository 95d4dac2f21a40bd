"""nginx's syntax: words, quotes, escapes, blocks, comments, and every way to get them wrong."""

from __future__ import annotations

import time

import pytest

from qanat.config.grammar import LONGEST_WORD, read
from qanat.config.tree import Directive


def words(text: str) -> list[tuple[str, ...]]:
    directives, problems = read(text, "f")
    assert problems == []
    return [(one.name, *one.args) for one in directives]


def errors(text: str) -> list[str]:
    return [str(problem) for problem in read(text, "f")[1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b c;", ("a", "b", "c")),
        ("a\n\tb\r\n  c ;", ("a", "b", "c")),
        ("a \"b c\" 'd e';", ("a", "b c", "d e")),
        ('a "";', ("a", "")),
        ("a \"x\\\"y\" 'x\\'y';", ("a", 'x"y', "x'y")),
        ('a "x\\ty\\nz\\\\n";', ("a", "x\ty\nz\\n")),
        (r"a ~^\d+\.x$ \;b;", ("a", r"~^\d+\.x$", r"\;b")),
        ("a ${b}c;", ("a", "${b}c")),
        ('a x"y z;', ("a", 'x"y', "z")),
        ("a b#c; # d {;}'\"", ("a", "b#c")),
        ("a b}c;", ("a", "b}c")),
        ('a "#b" "{" "}" ";";', ("a", "#b", "{", "}", ";")),
        ('a "b\nc";', ("a", "b\nc")),
        ("a é\u2003ü;", ("a", "é\u2003ü")),
    ],
)
def test_words_are_those_of_nginx(text: str, expected: tuple[str, ...]) -> None:
    assert words(text)[0] == expected


def test_blocks_nest() -> None:
    directives, problems = read("a { b c { d; } }\ne;", "f")
    assert problems == []
    inner = Directive("b", ("c",), "f", 1, (Directive("d", (), "f", 1),))
    assert directives == (Directive("a", (), "f", 1, (inner,)), Directive("e", (), "f", 2))


def test_a_directive_is_on_the_line_that_ends_it() -> None:
    directives, _ = read("a\n b\n ;\nc\n{\nd; }", "f")
    assert [one.line for one in directives] == [3, 5]
    assert directives[1].block is not None
    assert directives[1].block[0].line == 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a {\n", ['unexpected end of file, expecting "}" in f:2']),
        ("a {", ['unexpected end of file, expecting "}" in f:1']),
        ("a b", ['unexpected end of file, expecting ";" or "}" in f:1']),
        ("a;\nb\n", ['unexpected end of file, expecting ";" or "}" in f:3']),
        ('a;\nb "c;\nd;', ['unexpected end of file, expecting ";" or "}" in f:3']),
        ("a; }", ['unexpected "}" in f:1']),
        ("a {\n b }", ['unexpected "}" in f:2']),
        (";", ['unexpected ";" in f:1']),
        ("\n{ a; }", ['unexpected "{" in f:2']),
        ("a {" * 9000 + "b; " + "}" * 9000 + "c;", ["blocks are nested too deeply in f:1"]),
        ('a "b"c;', ['unexpected "c" in f:1']),
        (f"a {'x' * 5000};", ['too long parameter "xxxxxxxxxx..." started in f:1']),
        (f"\n#{'x' * 5000}", ['too long parameter "#xxxxxxxxx..." started in f:2']),
        (
            f'a "{"x" * 5000}";',
            ['too long parameter, probably missing terminating """ character in f:1'],
        ),
    ],
)
def test_errors_are_in_the_words_of_nginx(text: str, expected: list[str]) -> None:
    assert errors(text) == expected


def test_reading_goes_on_after_an_error() -> None:
    directives, problems = read("a; }\n{ b; }\nc;", "f")
    assert [one.name for one in directives] == ["a", "c"]
    assert [problem.line for problem in problems] == [1, 2]


def test_certificates_in_the_text_may_be_long() -> None:
    pem = "data:" + "x" * LONGEST_WORD
    assert words(f'ssl_certificate "{pem}";') == [("ssl_certificate", pem)]


@pytest.mark.slow
def test_ten_thousand_servers_are_read_in_a_second_of_cpu_time() -> None:
    server = "server {\n  listen 127.0.0.1:80;\n  server_name a.example;\n  proxy_pass b;\n}\n"
    start = time.process_time()
    directives, problems = read(server * 10_000, "f")
    assert time.process_time() - start < 1
    assert (len(directives), problems) == (10_000, [])
