"""nginx's times and sizes as numbers. Every function returns None for text that nginx refuses."""

from __future__ import annotations

import re

LARGEST_U32 = 2**32 - 1
LARGEST_I64 = 2**63 - 1

_MOST_DIGITS = 100  # Python refuses to convert very long texts
_SIZE = re.compile(r"([0-9]+)([kKmM]?)", re.ASCII)
_OFFSET = re.compile(r"([0-9]+)([kKmMgG]?)", re.ASCII)
_FACTOR = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

_WEEK_TO_MINUTE = r"(?:(\d+)w *)?(?:(\d+)d *)?(?:(\d+)h *)?(?:(\d+)m(?!s) *)?"
# A number followed by a blank counts as seconds, as does one at the end; milliseconds stand last.
_MILLISECONDS = re.compile(_WEEK_TO_MINUTE + r"(?:(\d+)(?:s *| +))?(?:(\d+)ms *)?(\d+)?", re.ASCII)
_SECONDS = re.compile(
    r"(?:(\d+)y *)?(?:(\d+)M *)?" + _WEEK_TO_MINUTE + r"(?:(\d+)(?:s *| +))?(\d+)?", re.ASCII
)
_MILLISECONDS_OF = (604_800_000, 86_400_000, 3_600_000, 60_000, 1000, 1, 1000)
_SECONDS_OF = (31_536_000, 2_592_000, 604_800, 86_400, 3600, 60, 1, 1)


def parse_number(text: str) -> int | None:
    """Read a whole number without a sign."""
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS:
        return None
    number = int(text)
    return number if number <= LARGEST_I64 else None


def parse_size(text: str) -> int | None:
    """Read a size: bytes, or with `k` or `m`."""
    return _scaled(_SIZE.fullmatch(text))


def parse_offset(text: str) -> int | None:
    """Read an offset or rate: as a size, or with `g`."""
    return _scaled(_OFFSET.fullmatch(text))


def _scaled(match: re.Match[str] | None) -> int | None:
    if match is None or len(match[0]) > _MOST_DIGITS:
        return None
    number = int(match[1]) * _FACTOR[match[2].lower()]
    return number if number <= LARGEST_I64 else None


def parse_time_ms(text: str) -> int | None:
    """Read a time such as `1h 30m`, `500ms` or `10` (seconds) into milliseconds."""
    return _total(_MILLISECONDS.fullmatch(text), _MILLISECONDS_OF)


def parse_time_s(text: str) -> int | None:
    """Read a time such as `1y` or `5m` into seconds; milliseconds are refused."""
    return _total(_SECONDS.fullmatch(text), _SECONDS_OF)


def _total(match: re.Match[str] | None, factors: tuple[int, ...]) -> int | None:
    if match is None or match.lastindex is None or len(match[0]) > _MOST_DIGITS:
        return None
    total = sum(
        int(number) * factor
        for number, factor in zip(match.groups(), factors, strict=True)
        if number is not None
    )
    return total if total <= LARGEST_I64 else None
