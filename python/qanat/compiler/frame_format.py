"""What frames of a protocol look like, from a declaration: the same for the `frame` block of a
configuration and for `FrameFormat` in handlers. Everything here raises `ValueError`."""

from __future__ import annotations

import re
import struct
import sys
from typing import Literal

from qanat.compiler import frame_plan

RESERVED = frozenset({"body", "bytes", "varint"})
"""Names that a field cannot have: variables, or words of the declaration, have them."""
PATHS = ("json_", "msgpack_")
SKIPPED = "_"
VARINT = "varint"
BODIES: tuple[frame_plan.FrameBody, ...] = ("raw", "json", "msgpack")

_ORDERS = {
    ">": False,
    "!": False,
    "<": True,
    "=": sys.byteorder == "little",
}
Kind = Literal["unsigned", "signed", "bool", "bytes", "text"]
_KINDS: dict[str, Kind] = {
    **dict.fromkeys("BHILQ", "unsigned"),
    **dict.fromkeys("bhilq", "signed"),
    "?": "bool",
    "c": "bytes",
    "s": "text",
}
_CODES = re.compile(r"\s*(?:(\d*)([^\s\d])|(\d+))", re.ASCII)
_LARGEST = 65_535  # bytes of a header
_NAME = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
_ESCAPE = re.compile(r"\\x([0-9A-Fa-f]{2})", re.ASCII)


def header_fields(
    text: str, names: tuple[str, ...]
) -> tuple[tuple[frame_plan.FrameField, ...], int]:
    """Read a header as Python's `struct` writes it, with a name for each value.

    Return the fields that have names, and the size of the header in bytes.
    """
    places, size = _layout(text)
    if len(places) != len(names):
        raise ValueError(
            f'"{text}" has {_count(len(places), "value")}, but {_count(len(names), "name")} '
            f'{"is" if len(names) == 1 else "are"} given; "_" skips a value'
        )
    fields = [
        frame_plan.FrameField(
            name=_field_name(name), offset=offset, width=width, kind=kind, little=little
        )
        for name, (offset, width, kind, little) in zip(names, places, strict=True)
        if name != SKIPPED
    ]
    known: set[str] = set()
    for field in fields:
        if field.name in known:
            raise ValueError(f'two fields are called "{field.name}"')
        known.add(field.name)
    return tuple(fields), size


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _layout(text: str) -> tuple[list[tuple[int, int, Kind, bool]], int]:
    order = text[:1]
    if order not in _ORDERS:
        raise ValueError(
            f'"{text}" has to begin with its byte order: ">" or "!" (network), "<" or "="; '
            "native alignment differs from machine to machine"
        )
    places: list[tuple[int, int, Kind, bool]] = []
    at = 0
    for match in _CODES.finditer(text[1:]):
        if match[3]:
            raise ValueError(f'the number {match[3]} in "{text}" has no code after it')
        code, repeat = match[2], _repeat(match[1], text)
        if code == "x":
            at += repeat
        elif code == "s":
            places.append((at, repeat, "text", False))
            at += repeat
        elif code in _KINDS:
            width = struct.calcsize(f">{code}")
            is_little = _ORDERS[order]
            for _ in range(repeat):
                places.append((at, width, _KINDS[code], is_little))
                at += width
        else:
            known = " ".join(("x", "s", *sorted(_KINDS.keys() - {"s"})))
            raise ValueError(f'"{code}" in "{text}" is not known here; there are {known}')
        if at > _LARGEST:
            raise ValueError(f'"{text}" is longer than {_LARGEST} bytes')
    return places, at


def _repeat(digits: str, text: str) -> int:
    if len(digits) > len(str(_LARGEST)) or int(digits or 1) > _LARGEST:
        raise ValueError(f'"{text}" is longer than {_LARGEST} bytes')
    return int(digits or 1)


def _field_name(name: str) -> str:
    lower = name.lower()
    if not _NAME.fullmatch(name):
        raise ValueError(f'"{name}" cannot name a field: letters, digits and "_" can')
    if lower in RESERVED or lower.startswith(PATHS):
        raise ValueError(f'a field cannot be called "{name}", which means something else already')
    return lower


def end_by_length(
    fields: tuple[frame_plan.FrameField, ...], name: str, adjust: int
) -> frame_plan.FrameEnd:
    """Let a field, or a varint after the header, count the bytes that follow."""
    if name == VARINT:
        return frame_plan.EndByVarint(adjust=adjust)
    for index, field in enumerate(fields):
        if field.name == name.lower():
            if field.kind not in {"unsigned", "signed"}:
                raise ValueError(f'field "{name}" is not a number, so it cannot be the length')
            return frame_plan.EndByField(index=index, adjust=adjust)
    there = ", ".join(field.name for field in fields) or "none"
    raise ValueError(f'"{name}" is not "varint" and no field of the header: there are {there}')


def end_by_delimiter(delimiter: bytes) -> frame_plan.FrameEnd:
    r"""Let the body end before a delimiter."""
    if not delimiter:
        raise ValueError("a delimiter has at least one byte")
    return frame_plan.EndByDelimiter(bytes=delimiter)


def delimiter_bytes(text: str) -> bytes:
    r"""Turn the text of a delimiter into bytes; `\xHH` stands for a byte."""
    data = b""
    end = 0
    for match in _ESCAPE.finditer(text):
        data += text[end : match.start()].encode("utf-8", "surrogateescape")
        data += bytes.fromhex(match[1])
        end = match.end()
    return data + text[end:].encode("utf-8", "surrogateescape")


def body_kind(text: str) -> frame_plan.FrameBody:
    """Read what the body is."""
    for body in BODIES:
        if text == body:
            return body
    raise ValueError(f'a body is json, msgpack or raw, not "{text}"')


def check_whole(frame: frame_plan.Frame) -> None:
    """Refuse a frame that has no end, or whose parts contradict each other."""
    if isinstance(frame.end, frame_plan.EndByHeader):
        if not frame.header:
            raise ValueError('a frame needs a "header", a "length" or a "delimiter"')
        if frame.body != "raw":
            raise ValueError(
                f'where "body {frame.body}" ends, a "length" or a "delimiter" must say'
            )
    if frame.max and frame.header > frame.max:
        raise ValueError(f"the {frame.header} bytes of the header are more than max {frame.max}")


def variables_of(frame: frame_plan.Frame) -> set[str]:
    """List the variables that a frame has, without `frame_`; those ending in `_` are prefixes."""
    names = {"bytes", "body", *(field.name for field in frame.fields)}
    if frame.body != "raw":
        names.add(f"{frame.body}_")
    return names
