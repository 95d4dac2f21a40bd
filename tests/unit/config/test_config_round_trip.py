"""Laws of the grammar: what is written reads back, and no text breaks the reader."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qanat.config.format import format_directives
from qanat.config.grammar import LONGEST_WORD, read
from qanat.config.tree import Directive

# Surrogates stand for bytes that are no UTF-8; a carriage return outlives quoting, as in nginx.
anything = st.text(st.characters(), max_size=40)
pieces = st.sampled_from([*"ab \t\n\r;{}\"'\\#$\xa0", "${", "data:", "a b;"])
syntax = st.lists(pieces, max_size=40).map("".join)


def directives(name: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[Directive, ...]]:
    simple = st.builds(
        Directive, name, st.lists(anything, max_size=3).map(tuple), st.just("f"), st.just(0)
    )

    def block(inner: st.SearchStrategy[Directive]) -> st.SearchStrategy[Directive]:
        body = st.lists(inner, max_size=3).map(tuple)
        args = st.lists(anything, max_size=2).map(tuple)
        return st.builds(Directive, name, args, st.just("f"), st.just(0), body)

    return st.lists(st.recursive(simple, block, max_leaves=8), max_size=4).map(tuple)


def shape(tree: tuple[Directive, ...]) -> list[object]:
    return [(one.name, one.args, None if one.block is None else shape(one.block)) for one in tree]


@given(directives(anything))
def test_what_is_formatted_reads_back(tree: tuple[Directive, ...]) -> None:
    again, problems = read(format_directives(tree), "f")
    assert problems == []
    assert shape(again) == shape(tree)


@given(st.one_of(anything, syntax))
def test_no_text_breaks_the_reader(text: str) -> None:
    tree, problems = read(text, "f")
    last = text.count("\n") + 1
    assert all(1 <= problem.line <= last for problem in problems)
    assert all(1 <= one.line <= last for one in tree)


@given(syntax)
def test_an_error_free_text_reads_the_same_after_formatting(text: str) -> None:
    tree, problems = read(text, "f")
    if not problems:
        again, problems = read(format_directives(tree), "f")
        assert problems == []
        assert shape(again) == shape(tree)


@given(st.integers(LONGEST_WORD - 2, LONGEST_WORD + 2))
def test_only_words_beyond_the_limit_are_too_long(length: int) -> None:
    _, problems = read(f"a {'x' * length};", "f")
    assert bool(problems) == (length > LONGEST_WORD)
