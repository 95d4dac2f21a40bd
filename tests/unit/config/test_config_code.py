"""Blocks of Python in a configuration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.config.grammar import read


def codes(text: str) -> list[tuple[str, str]]:
    directives, problems = read(text, "f")
    assert problems == []
    return [(one.name, one.args[0]) for one in directives if one.name.endswith("_block")]


@pytest.mark.parametrize(
    "code",
    [
        " pass ",
        "\n    x = {1: {2: 3}}\n",
        "\n    # }\n",
        ' x = "}" ',
        ' x = "\\"}" ',
        " x = '}' ",
        '\n x = """ } " } """\n',
        "\n x = ''' } ' } '''\n",
        ' x = f"{a}{{" ',
        " x = {}; y = {} ",
        ' r = r"\\d{2}" ',
    ],
)
def test_a_block_ends_at_its_own_brace(code: str) -> None:
    text = f"a 1; log_by_python_block {{{code}}} b 2;"
    assert codes(text) == [("log_by_python_block", code)]
    directives, _ = read(text, "f")
    assert [one.name for one in directives] == ["a", "log_by_python_block", "b"]


def test_lines_are_counted_on() -> None:
    text = "a 1;\nlog_by_python_block {\n  pass\n}\nb 2;\n\nlog_by_python_block { x }\nc 3;"
    directives, _ = read(text, "f")
    assert [(one.name[:1], one.line) for one in directives] == [
        *(("a", 1), ("l", 2), ("b", 5), ("l", 7), ("c", 8)),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "# log_by_python_block {\na 1;",
        'a "log_by_python_block {";',
        "a 'log_by_python_block {';",
        "a xlog_by_python_block;",
    ],
)
def test_what_only_looks_like_a_block_is_none(text: str) -> None:
    assert codes(text) == []


def test_a_block_without_an_end_is_an_error() -> None:
    _, problems = read('server { log_by_python_block { x = "}" ', "f")
    assert "unexpected end of file" in str(problems[0])


def test_a_block_inside_a_quoted_word_after_one() -> None:
    text = 'log_by_python_block { "it\'s" } return "x } y";'
    directives, problems = read(text, "f")
    assert problems == []
    assert [one.args for one in directives] == [(' "it\'s" ',), ("x } y",)]


@given(st.recursive(st.just("x"), lambda inner: st.builds("{{{} {}}}".format, inner, inner)))
def test_nested_braces_balance(code: str) -> None:
    assert codes(f"log_by_python_block {{{code}}}") == [("log_by_python_block", code)]
