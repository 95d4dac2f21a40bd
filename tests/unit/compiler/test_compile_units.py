"""Times and sizes are read as nginx reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.compiler.units import (
    parse_number,
    parse_offset,
    parse_size,
    parse_time_ms,
    parse_time_s,
)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0),
        ("10", 10_000),
        ("500ms", 500),
        ("1m", 60_000),
        ("1h 30m", 5_400_000),
        ("1w2d3h4m5s6ms", 788_645_006),
        ("1m30", 90_000),
        ("2 5ms", 2005),
        ("1s500ms", 1500),
    ],
)
def test_times_in_milliseconds(text: str, milliseconds: int) -> None:
    assert parse_time_ms(text) == milliseconds


@pytest.mark.parametrize(
    "text", ["", "s", "-1", "1y", "1M", "1s1m", "1x", "1.5s", "99999999999999999999"]
)
def test_no_times_in_milliseconds(text: str) -> None:
    assert parse_time_ms(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("5m", 300), ("1y", 31_536_000), ("1M", 2_592_000), ("1d 12h", 129_600)]
)
def test_times_in_seconds(text: str, seconds: int) -> None:
    assert parse_time_s(text) == seconds


@pytest.mark.parametrize("text", ["5ms", "", "1s1s"])
def test_no_times_in_seconds(text: str) -> None:
    assert parse_time_s(text) is None


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("16k", 16384), ("1M", 1048576), ("7", 7)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_only_offsets_have_gigabytes() -> None:
    assert parse_offset("1g") == 1 << 30
    assert parse_size("1g") is None


@pytest.mark.parametrize("text", ["", "k", "-1", "+1", "1kb", "1 k", "٣", "²", "9" * 5000])
def test_no_sizes_and_no_numbers(text: str) -> None:
    assert parse_size(text) is None
    assert parse_number(text) is None
    assert parse_offset(text) is None


@given(st.integers(0, 10**9), st.sampled_from(["", "k", "m"]))
def test_a_size_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number * {"": 1, "k": 1024, "m": 1024**2}[unit]


_WEEK_TO_SECOND = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}


@given(
    st.lists(st.integers(0, 10**6), min_size=5, max_size=5),
    st.integers(0, 10**6),
    st.sampled_from(["", " ", "  "]),
)
def test_the_parts_of_a_time_add_up(counts: list[int], milliseconds: int, gap: str) -> None:
    parts = [f"{count}{unit}" for count, unit in zip(counts, _WEEK_TO_SECOND, strict=True)]
    seconds = sum(
        count * unit for count, unit in zip(counts, _WEEK_TO_SECOND.values(), strict=True)
    )
    assert parse_time_s(gap.join(parts)) == seconds
    assert parse_time_ms(gap.join([*parts, f"{milliseconds}ms"])) == seconds * 1000 + milliseconds


@given(st.text(max_size=12))
def test_any_text_is_a_time_or_is_not(text: str) -> None:
    for parse in (parse_time_ms, parse_time_s, parse_size, parse_offset, parse_number):
        value = parse(text)
        assert value is None or value >= 0
